"""A proxy that is not ours: client.py ADDRESS ROOT. Says what it hears, a line of JSON each; refuses what has "no" in its
name; ends with its stdin."""
import json
import queue
import sys
import threading

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from stubs import *


def say(**what):
    print(json.dumps(what), flush=True)


address, root = sys.argv[1:]
credentials = grpc.ssl_channel_credentials(open(root, "rb").read())
channel = grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", "plane.test")])
who = [("authorization", "Bearer good"), ("clusterid", "there")]

certificates = certificate_pb2_grpc.IstioCertificateServiceStub(channel)
metadata = Struct()
metadata.update({"ImpersonatedIdentity": "spiffe://cluster.local/ns/shop/sa/web"})
request = certificate_pb2.IstioCertificateRequest(csr="python's", validity_duration=86400, metadata=metadata)
say(chain=list(certificates.CreateCertificate(request, metadata=who, timeout=30).cert_chain))
try:
    certificates.CreateCertificate(request, timeout=30)
except grpc.RpcError as error:
    say(code=error.code().name, details=error.details())

discovery = discovery_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
try:
    list(discovery.DeltaAggregatedResources(iter([]), timeout=30))
except grpc.RpcError as error:
    say(code=error.code().name, details=error.details())

requests = queue.SimpleQueue()
node = discovery_pb2.Node(id="ztunnel~10.0.0.9~py.shop~shop.svc.cluster.local")
requests.put(discovery_pb2.DeltaDiscoveryRequest(node=node, type_url=ADDRESS))
requests.put(discovery_pb2.DeltaDiscoveryRequest(node=node, type_url=AUTHORIZATION))


def until_told():
    for line in sys.stdin:
        subscribe = line.split()
        requests.put(discovery_pb2.DeltaDiscoveryRequest(type_url=ADDRESS, resource_names_subscribe=subscribe))
    requests.put(None)


threading.Thread(target=until_told, daemon=True).start()
for answer in discovery.DeltaAggregatedResources(iter(requests.get, None), metadata=who):
    kind = workload_pb2.Address if answer.type_url == ADDRESS else security_pb2.Authorization
    resources, refused = {}, []
    for resource in answer.resources:
        assert resource.resource.type_url == answer.type_url
        message = kind()
        message.ParseFromString(resource.resource.value)
        resources[resource.name] = MessageToDict(message, preserving_proto_field_name=True)
        if "no" in resource.name:
            refused.append(resource.name)
    word = discovery_pb2.DeltaDiscoveryRequest(type_url=answer.type_url, response_nonce=answer.nonce)
    if refused:
        word.error_detail.CopyFrom(status_pb2.Status(code=3, message="python refuses " + ", ".join(refused)))
    requests.put(word)
    say(type=answer.type_url, resources=resources, removed=list(answer.removed_resources))

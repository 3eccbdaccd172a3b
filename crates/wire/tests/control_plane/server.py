"""A control plane that is not ours: server.py CHAIN KEY. Says its port, and each request, a line of JSON each."""
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.any_pb2 import Any

from stubs import *


def say(**what):
    print(json.dumps(what), flush=True)


def resource(name, url, message, raw=None):
    value = message.SerializeToString() if raw is None else raw
    return discovery_pb2.Resource(name=name, version="1", resource=Any(type_url=url, value=value))


def workload(number, **more):
    uid = f"foreign//Pod/shop/w{number}"
    own = workload_pb2.Workload(
        uid=uid, name=f"w{number}", namespace="shop", addresses=[bytes([10, 2, 0, number])],
        tunnel_protocol=workload_pb2.HBONE, **more)
    return resource(uid, ADDRESS, workload_pb2.Address(workload=own))


def policy(name, **more):
    own = security_pb2.Authorization(name=name, namespace="shop", scope=security_pb2.NAMESPACE, **more)
    return resource(f"shop/{name}", AUTHORIZATION, own)


ANSWERS = {
    ADDRESS: [
        workload(1, authorization_policies=["shop/strict"]),
        workload(2, service_account="web"),
        resource("foreign//Pod/shop/broken", ADDRESS, None, b"\xff\xff"),
    ],
    AUTHORIZATION: [policy("fine", action=security_pb2.DENY), policy("strange", action=7)],
}


class Discovery(discovery_pb2_grpc.AggregatedDiscoveryServiceServicer):
    def DeltaAggregatedResources(self, requests, context):
        token = dict(context.invocation_metadata()).get("authorization")
        for request in requests:
            say(token=token, node=request.node.id, type=request.type_url, nonce=request.response_nonce,
                initial=dict(request.initial_resource_versions), subscribe=list(request.resource_names_subscribe),
                error=request.error_detail.message)
            if not request.response_nonce:
                yield discovery_pb2.DeltaDiscoveryResponse(
                    type_url=request.type_url, nonce="n-" + request.type_url, resources=ANSWERS[request.type_url],
                    system_version_info="foreign")


chain, key = (open(path, "rb").read() for path in sys.argv[1:])
server = grpc.server(ThreadPoolExecutor(4))
discovery_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(Discovery(), server)
port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
server.start()
say(port=port)
sys.stdin.read()
server.stop(None)

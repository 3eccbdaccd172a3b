"""gRPC's own stubs of the .proto files: what the foreign client and the foreign control plane speak with."""
import os
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

PROTO = os.environ["HANDFAST_PROTO"]
FILES = ["workload", "security", "status", "discovery", "certificate", "mesh"]

_folder = tempfile.TemporaryDirectory()
_status = protoc.main([
    "protoc", f"-I{PROTO}", "-I" + os.path.join(os.path.dirname(grpc_tools.__file__), "_proto"),
    f"--python_out={_folder.name}", f"--grpc_python_out={_folder.name}", *[f"{name}.proto" for name in FILES],
])
assert _status == 0, "protoc failed"
sys.path.insert(0, _folder.name)

import certificate_pb2
import certificate_pb2_grpc
import discovery_pb2
import discovery_pb2_grpc
import mesh_pb2
import security_pb2
import status_pb2
import workload_pb2

ADDRESS = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION = "type.googleapis.com/istio.security.Authorization"

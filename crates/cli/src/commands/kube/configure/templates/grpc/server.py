"""A gRPC server (pip install grpcio) that lets in only clients with a certificate of our authority, and takes
renewed files by itself: gRPC asks for the configuration at each handshake."""

import os
from concurrent import futures

import grpc

FOLDER = "{{SERVER}}"
known = None


def files():
    def read(name):
        with open(f"{FOLDER}/{name}", "rb") as file:
            return file.read()

    return grpc.ssl_server_certificate_configuration([(read("tls.key"), read("tls.crt"))], read("ca.crt"))


def renewed():
    """The new configuration where kubelet has swapped the Secret's link ..data, else None: as before."""
    global known
    now = os.readlink(f"{FOLDER}/..data")
    if now == known:
        return None
    known = now
    return files()


def hello(request, context):
    names = context.auth_context().get("x509_subject_alternative_name", [])
    return b"hello, " + b", ".join(names)


credentials = grpc.dynamic_ssl_server_credentials(files(), renewed, require_client_authentication=True)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=10))
# In place of the service that protoc makes of your .proto file.
method = grpc.unary_unary_rpc_method_handler(hello)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("example.Hello", {"Say": method})])
server.add_secure_port("[::]:{{LISTEN}}", credentials)
server.start()
server.wait_for_termination()

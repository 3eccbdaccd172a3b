"""A gRPC client (pip install grpcio) that shows its own certificate and accepts only a server of our authority.

A channel keeps the files that it was made with: make a new one when os.readlink("{{CLIENT}}/..data") changes."""

import grpc

FOLDER = "{{CLIENT}}"


def channel():
    def read(name):
        with open(f"{FOLDER}/{name}", "rb") as file:
            return file.read()

    credentials = grpc.ssl_channel_credentials(read("ca.crt"), read("tls.key"), read("tls.crt"))
    return grpc.secure_channel("{{UPSTREAM}}", credentials)


with channel() as connection:
    say = connection.unary_unary("/example.Hello/Say")
    print(say(b"", timeout=10).decode())

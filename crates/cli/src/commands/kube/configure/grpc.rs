//! gRPC, in Python: grpcio's dynamic server credentials.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template { role: Role::Server, name: "server.py", text: include_str!("templates/grpc/server.py") },
        Template { role: Role::Client, name: "client.py", text: include_str!("templates/grpc/client.py") },
    ],
    server: Renewal::Watches(
        "gRPC asks for the configuration at each handshake (dynamic_ssl_server_credentials)",
    ),
    client: "a new channel when kubelet has swapped the files",
    tcp: false,
    port: 8443,
};

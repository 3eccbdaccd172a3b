//! Go's net/http and crypto/tls.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template { role: Role::Server, name: "server.go", text: include_str!("templates/go/server.go") },
        Template { role: Role::Client, name: "client.go", text: include_str!("templates/go/client.go") },
    ],
    server: Renewal::Watches("the files are read anew for a handshake when kubelet has swapped them"),
    client: "the files are read for each new connection",
    tcp: false,
    port: 8443,
};

//! Node's https.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template { role: Role::Server, name: "server.js", text: include_str!("templates/node/server.js") },
        Template { role: Role::Client, name: "client.js", text: include_str!("templates/node/client.js") },
    ],
    server: Renewal::Watches("fs.watch on the mounted folder, then setSecureContext"),
    client: "a new agent when kubelet has swapped the files",
    tcp: false,
    port: 8443,
};

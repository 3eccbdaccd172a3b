//! nginx: one server block for each direction, in conf.d.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template {
            role: Role::Server,
            name: "handfast-server.conf",
            text: include_str!("templates/nginx/server.conf"),
        },
        Template {
            role: Role::Client,
            name: "handfast-client.conf",
            text: include_str!("templates/nginx/client.conf"),
        },
    ],
    server: Renewal::Told {
        how: "nginx -s reload (SIGHUP to the master process): new workers take the new files, old connections end in peace",
        command: "nginx -s reload",
        script: "reload.sh",
    },
    client: "as the server: nginx -s reload",
    tcp: false,
    port: 8443,
};

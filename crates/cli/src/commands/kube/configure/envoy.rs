//! Envoy: a bootstrap file for each direction, and its secrets, which Envoy watches.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template {
            role: Role::Server,
            name: "server.yaml",
            text: include_str!("templates/envoy/server.yaml"),
        },
        Template {
            role: Role::Server,
            name: "server-certificate.yaml",
            text: include_str!("templates/envoy/server-certificate.yaml"),
        },
        Template {
            role: Role::Server,
            name: "server-trust.yaml",
            text: include_str!("templates/envoy/server-trust.yaml"),
        },
        Template {
            role: Role::Client,
            name: "client.yaml",
            text: include_str!("templates/envoy/client.yaml"),
        },
        Template {
            role: Role::Client,
            name: "client-certificate.yaml",
            text: include_str!("templates/envoy/client-certificate.yaml"),
        },
        Template {
            role: Role::Client,
            name: "client-trust.yaml",
            text: include_str!("templates/envoy/client-trust.yaml"),
        },
    ],
    server: Renewal::Watches("Envoy watches the mounted folder (watched_directory of its secrets)"),
    client: "Envoy watches the mounted folder",
    tcp: false,
    port: 8443,
};

//! Spring Boot's SSL bundles.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template {
            role: Role::Server,
            name: "server.yaml",
            text: include_str!("templates/java-spring/server.yaml"),
        },
        Template {
            role: Role::Client,
            name: "client.yaml",
            text: include_str!("templates/java-spring/client.yaml"),
        },
    ],
    server: Renewal::Watches("Spring Boot watches the files of a bundle with reload-on-update"),
    client: "SslBundles.addBundleUpdateHandler, then a new client",
    tcp: false,
    port: 8443,
};

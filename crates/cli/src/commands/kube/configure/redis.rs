//! Redis 7 (and Valkey) and redis-cli.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template {
            role: Role::Server,
            name: "redis.conf",
            text: include_str!("templates/redis/server.conf"),
        },
        Template { role: Role::Client, name: "client.sh", text: include_str!("templates/redis/client.sh") },
    ],
    server: Renewal::Told {
        how: "CONFIG SET of the same paths: Redis reads the files anew",
        command: "redis-cli -e -s /tmp/redis.sock CONFIG SET tls-cert-file {{SERVER}}/tls.crt tls-key-file {{SERVER}}/tls.key tls-ca-cert-file {{SERVER}}/ca.crt > /dev/null",
        script: "reload.sh",
    },
    client: "redis-cli reads the files at its start; a library's pool has to be made anew",
    tcp: true,
    port: 6379,
};

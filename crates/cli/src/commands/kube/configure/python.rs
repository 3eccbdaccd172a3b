//! Python's ssl and http.server; the same context serves asyncio, aiohttp and gunicorn.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template { role: Role::Server, name: "server.py", text: include_str!("templates/python/server.py") },
        Template { role: Role::Client, name: "client.py", text: include_str!("templates/python/client.py") },
    ],
    server: Renewal::Watches("a new SSLContext when kubelet has swapped the files"),
    client: "the files are read for each call",
    tcp: false,
    port: 8443,
};

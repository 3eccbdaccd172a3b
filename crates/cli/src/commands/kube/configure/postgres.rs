//! PostgreSQL and libpq.

use super::recipe::{Recipe, Renewal, Role, Template};

pub(super) const RECIPE: Recipe = Recipe {
    files: &[
        Template {
            role: Role::Server,
            name: "postgresql.conf",
            text: include_str!("templates/postgres/server.conf"),
        },
        Template {
            role: Role::Server,
            name: "pg_hba.conf",
            text: include_str!("templates/postgres/pg_hba.conf"),
        },
        Template {
            role: Role::Client,
            name: "client.env",
            text: include_str!("templates/postgres/client.env"),
        },
    ],
    server: Renewal::Told {
        how: "pg_ctl reload (SIGHUP to the postmaster): new connections get the new files",
        command: r#"pg_ctl reload -s -D "$PGDATA""#,
        script: "reload.sh",
    },
    client: "libpq reads the files for each new connection",
    tcp: true,
    port: 5432,
};

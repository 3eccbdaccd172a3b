//! Rows about server names: unknown ones, and a request for another host than the connection's.

use model::codes::refusals;
use testkit::clients::{Attempt, Client, Version};

use crate::row::{Row, Sees};
use crate::server::{At, Server};

#[test]
fn unknown_name_where_names_are_enforced() {
    Row {
        code: &refusals::UNRECOGNIZED_NAME,
        at: At::Names,
        sees: [Sees::Alert(112); 2],
        credential: |_| None,
        unable: &[],
        lone: None,
        unreadable: false,
        edit: |attempt| attempt.server_name = Some("unknown.test"),
    }
    .check();
}

#[test]
fn no_name_where_names_are_enforced() {
    let row = Row {
        code: &refusals::UNRECOGNIZED_NAME,
        at: At::Names,
        sees: [Sees::Alert(112); 2],
        credential: |_| None,
        unable: &[],
        lone: None,
        unreadable: false,
        edit: |attempt| attempt.server_name = None,
    };
    let server = Server::start();
    // curl sends a name always.
    for client in [Client::OpenSsl, Client::GnuTls, Client::Go] {
        row.try_once(&server, client, Version::Tls12, Sees::Alert(112));
        row.try_once(&server, client, Version::Tls13, Sees::Alert(112));
    }
    assert_eq!(server.upstream(), (0, 0));
}

#[test]
fn name_and_host_under_different_policies_get_421() {
    let server = Server::start();
    // The open host's connection, then a request for the host that requires certificates; and the reverse.
    for (sni, host, credential) in
        [("other.test", "app.test", None), ("app.test", "other.test", Some(&server.pki.good))]
    {
        for client in [Client::OpenSsl, Client::GnuTls, Client::Go] {
            for version in [Version::Tls12, Version::Tls13] {
                let before = server.lines(refusals::MISDIRECTED.id).len();
                let mut attempt = Attempt::new(server.addr(At::Hosts), version).credential(credential);
                attempt.server_name = Some(sni);
                // Case and a port do not change whose host it is.
                let request = format!(
                    "GET / HTTP/1.1\r\nHost: {}:443\r\nConnection: close\r\n\r\n",
                    host.to_uppercase()
                );
                attempt.send = &request;
                let Some(seen) = client.connect(&attempt) else { continue };
                let context = || {
                    format!(
                        "{client:?} {version:?} {sni}: {}\n{}",
                        seen.text,
                        server.handfast.program.output()
                    )
                };
                assert_eq!(seen.status(), Some(421), "{}", context());
                assert_eq!(server.new_lines(refusals::MISDIRECTED.id, before).len(), 1, "{}", context());
            }
        }
    }
    assert_eq!(server.upstream(), (0, 0));
}

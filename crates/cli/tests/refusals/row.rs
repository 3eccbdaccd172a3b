//! One row: an attempt, and all that must be seen of its refusal from the outside, upstream and in the records.

use testkit::clients::{Attempt, CLIENTS, Client, Version};
use testkit::pki::{Credential, Pki};

use crate::server::{At, Server};

/// What the client is to see.
#[derive(Clone, Copy, Debug)]
pub enum Sees {
    /// This TLS alert.
    Alert(u8),
    /// The handshake completes; this HTTP status.
    Status(u16),
    /// The handshake completes; the connection ends without a byte of an answer.
    Nothing,
    /// The connection ends without a byte of an answer, with or without an alert: the client may still be
    /// sending, and then the end is all that reaches it.
    Closed,
}

/// One row of the contract.
pub struct Row {
    /// The entry of the codes that must be logged.
    pub code: &'static model::codes::Code,
    /// The listener.
    pub at: At,
    /// Over TLS 1.2, and over 1.3.
    pub sees: [Sees; 2],
    /// The certificate.
    pub credential: fn(&Pki) -> Option<&Credential>,
    /// Clients that cannot even send this, or that cannot show what they saw. Measured: they must be unable.
    pub unable: &'static [(Client, &'static [Version])],
    /// The one client that can send this at all. Any other row has to be tried by two clients at least, and by
    /// three where all can send it.
    pub lone: Option<Client>,
    /// Whether the certificate cannot be read, so that no log can name its serial number.
    pub unreadable: bool,
    /// Any other change to the attempt.
    pub edit: fn(&mut Attempt<'_>),
}

impl Row {
    /// A row about a client certificate on the strict listener, seen as this alert in both versions.
    pub fn certificate(
        code: &'static model::codes::Code,
        alert: u8,
        credential: fn(&Pki) -> Option<&Credential>,
    ) -> Self {
        Self {
            code,
            at: At::Strict,
            sees: [Sees::Alert(alert); 2],
            credential,
            unable: &[],
            lone: None,
            unreadable: false,
            edit: |_| {},
        }
    }

    /// These clients cannot send it over these versions.
    pub fn unable(self, unable: &'static [(Client, &'static [Version])]) -> Self {
        Self { unable, ..self }
    }

    /// Tries it with every client over both versions.
    pub fn check(&self) {
        self.check_on(&Server::start());
    }

    /// Tries it on a running server.
    pub fn check_on(&self, server: &Server) {
        for (version, sees) in [Version::Tls12, Version::Tls13].into_iter().zip(self.sees) {
            let mut tried = CLIENTS.to_vec();
            tried.retain(|client| self.try_once(server, *client, version, sees));
            self.enough(version, &tried);
        }
        let (bytes, connections) = server.upstream();
        assert_eq!((bytes, connections), (0, 0), "bytes and connections upstream");
        let log = server.handfast.program.output();
        assert!(!log.contains("-----BEGIN"), "a PEM in the log:\n{log}");
    }

    /// One client may have a fault of its own that looks like a refusal: several must have met it.
    fn enough(&self, version: Version, tried: &[Client]) {
        let unable = |client: &Client| {
            self.unable.iter().any(|(who, versions)| who == client && versions.contains(&version))
        };
        let able: Vec<_> = CLIENTS.into_iter().filter(|client| !unable(client)).collect();
        let told = format!("{:?} over {version:?}, tried by {tried:?}, sent by {able:?}", self.code.label);
        let least = match self.lone {
            Some(client) => {
                assert_eq!(able, [client], "this row says that one client alone can send it: {told}");
                1
            }
            // A client that is not installed was counted as skipped.
            None => {
                let absent = able.iter().filter(|client| !client.is_installed()).count();
                (able.len() - absent).clamp(2, 3)
            }
        };
        assert!(tried.len() >= least, "{least} different clients have to try it: {told}");
    }

    /// One connection. Says whether the client could make it.
    pub fn try_once(&self, server: &Server, client: Client, version: Version, sees: Sees) -> bool {
        let credential = (self.credential)(&server.pki);
        let mut attempt = Attempt::new(server.addr(self.at), version).credential(credential);
        (self.edit)(&mut attempt);
        let reason = self.code.label;
        let (failures, lines) = (server.failures(reason), server.lines(self.code.id).len());
        let Some(seen) = client.connect(&attempt) else {
            testkit::skipped(&format!("{client:?} is not installed"));
            return false;
        };
        let context = || {
            format!("{client:?} {version:?} {reason}: {}\n{}", seen.text, server.handfast.program.output())
        };
        if self.unable.iter().any(|(who, versions)| *who == client && versions.contains(&version)) {
            assert!(seen.unable.is_some(), "was expected to be unable: {}", context());
            return false;
        }
        assert_eq!(seen.unable, None, "{}", context());
        match sees {
            Sees::Alert(alert) => assert_eq!(seen.alert, Some(alert), "{}", context()),
            Sees::Status(status) => assert_eq!(seen.status(), Some(status), "{}", context()),
            Sees::Closed => assert_eq!(seen.read, "", "{}", context()),
            Sees::Nothing => assert_eq!((seen.read.as_str(), seen.alert), ("", None), "{}", context()),
        }
        let new = server.new_lines(self.code.id, lines);
        assert_eq!(new.len(), 1, "log lines with {}: {new:?} {}", self.code.id, context());
        let line = &new[0];
        assert_eq!(line["reason"], reason, "{line}");
        assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
        if let Some(name) = attempt.server_name {
            assert_eq!(line["server_name"], name, "{line}");
        }
        if let Some(credential) = credential {
            let serial = line["serial"].as_str().unwrap_or("").replace(':', "").to_ascii_lowercase();
            let wanted = if self.unreadable { "" } else { &credential.serial };
            assert_eq!(serial.trim_start_matches('0'), wanted, "{line}");
        }
        assert_eq!(server.failures(reason) - failures, 1.0, "the metric: {}", context());
        true
    }
}

//! The bad certificates: made here, in memory, where the authority's key is; never in a pod.

use std::path::Path;

use certs::Serial;
use controller::authority::AuthorityStore;
use controller::names::{AUTHORITY_SECRET, SYSTEM_NAMESPACE};
use kube::Client;
use probe::edge::Sent;
use probe::forge::certificate::{Draft, Purpose};
use probe::forge::{ForgeError, Issuer};
use time::{Duration, OffsetDateTime};

use crate::commands::test::{issuing, read_issuer};
use crate::failure::Failure;

/// An authority, and what it has revoked.
pub struct Authority {
    issuer: Issuer,
    /// A revoked serial number of this very authority.
    revoked: Option<Serial>,
    /// Whether anything is revoked but the number that its lists name for proofs.
    pub has_revoked: bool,
}

/// The folder's authority, or the cluster's; and where there is none, why.
pub async fn authority(dir: Option<&Path>, client: &Client) -> Result<Result<Authority, String>, Failure> {
    if let Some(dir) = dir {
        let (certificate, key) = issuing(dir)?;
        return Ok(Ok(Authority {
            issuer: read_issuer(&certificate, &key)?,
            revoked: None,
            has_revoked: false,
        }));
    }
    let nothing = |why: String| Ok(Err(format!("{why}; or name a folder: --ca-dir DIR")));
    let state = match AuthorityStore::new(client.clone(), SYSTEM_NAMESPACE).load().await {
        Ok(Some(state)) => state,
        Ok(None) => return nothing(format!("{SYSTEM_NAMESPACE}/{AUTHORITY_SECRET} holds no authority yet")),
        Err(error) => return nothing(format!("{SYSTEM_NAMESPACE}/{AUTHORITY_SECRET}: {error}")),
    };
    let (member, issuer) = match state.active() {
        Ok(active) => active,
        Err(error) => return nothing(error.to_string()),
    };
    let made = Issuer::from_pem(state.intermediates_pem(member).as_bytes(), issuer.key().to_pem().as_bytes());
    // What has ended by itself is on no list any more.
    let now = OffsetDateTime::now_utc();
    let found = state
        .revocations
        .iter()
        .find(|(_, revocation)| revocation.issuer == member.name && revocation.not_after > now);
    let has_revoked = found.is_some();
    let revoked =
        Some(found.map_or_else(|| Serial::of_proof(&member.certificate), |(serial, _)| serial.clone()));
    match made {
        Ok(issuer) => Ok(Ok(Authority { issuer, revoked, has_revoked })),
        Err(error) => nothing(error.to_string()),
    }
}

impl Authority {
    /// Client certificates that a server must refuse, with the identity of this client where it has one: a server
    /// that keeps a list must not refuse them for that.
    pub fn clients(&self, identity: Option<&str>, has_list: bool) -> Result<Vec<Sent>, ForgeError> {
        let day = Duration::days(1);
        let same = |draft: &mut Draft| {
            if let Some(identity) = identity {
                draft.uri = Some(identity.to_owned());
            }
        };
        let mut made = vec![
            Sent::new(
                "expired",
                &self.issuer.pair(|draft| {
                    same(draft);
                    (draft.not_before, draft.not_after) =
                        (draft.not_before - day * 30, draft.not_after - day);
                })?,
            ),
            Sent::new(
                "not-yet-valid",
                &self.issuer.pair(|draft| {
                    same(draft);
                    // It goes through foreign hands: nobody who keeps it has more of it than a minute.
                    draft.not_before += day;
                    draft.not_after = draft.not_before + Duration::minutes(1);
                })?,
            ),
            Sent::new(
                "wrong-usage",
                &self.issuer.pair(|draft| {
                    same(draft);
                    draft.purpose = Purpose::Server;
                })?,
            ),
        ];
        if let Some(serial) = &self.revoked {
            // Another certificate with a serial number that is on the list: where something real is revoked, its key
            // is not here.
            let revoked = self.issuer.pair(|draft| {
                same(draft);
                draft.serial = Some(serial.as_bytes().to_vec());
            })?;
            made.push(Sent::new("revoked", &revoked));
        }
        if has_list {
            let stranger = self.issuer.pair(|draft| {
                draft.uri = Some("spiffe://stranger.invalid/ns/nowhere/sa/nobody".into());
            })?;
            made.push(Sent::new("not-on-the-list", &stranger));
        }
        Ok(made)
    }

    /// Server certificates that a client must refuse.
    pub fn servers(&self, name: &str) -> Result<Vec<Sent>, ForgeError> {
        let server = |draft: &mut Draft, name: &str| {
            (draft.purpose, draft.uri, draft.dns) = (Purpose::Server, None, vec![name.to_owned()]);
        };
        let other = self.issuer.pair(|draft| server(draft, "impostor.handfast.invalid"))?;
        let expired = self.issuer.pair(|draft| {
            server(draft, name);
            draft.not_before -= Duration::days(30);
            draft.not_after -= Duration::days(1);
        })?;
        Ok(vec![Sent::new("impostor-wrong-name", &other), Sent::new("impostor-expired", &expired)])
    }
}

#[cfg(test)]
mod tests {
    use controller::authority::State;
    use model::identity::TrustDomain;

    use super::*;

    #[test]
    fn no_certificate_that_is_made_for_the_test_is_of_use_later() {
        let state = State::new(TrustDomain::default(), OffsetDateTime::now_utc()).unwrap();
        let (member, issuer) = state.active().unwrap();
        let key = issuer.key().to_pem();
        let issuer = Issuer::from_pem(state.intermediates_pem(member).as_bytes(), key.as_bytes())
            .unwrap_or_else(|e| panic!("{e}"));
        let authority = Authority { issuer, revoked: None, has_revoked: false };
        let made = authority.clients(None, false).unwrap_or_else(|error| panic!("{error}"));
        let of = |row: &str| {
            let sent = made.iter().find(|sent| sent.row == row).unwrap();
            let sent = serde_json::to_value(sent).unwrap();
            let leaf: Vec<u8> = serde_json::from_value(sent["chain"][0].clone()).unwrap();
            certs::inspect::certificate(&leaf).unwrap()
        };
        let early = of("not-yet-valid");
        assert_eq!(early.not_after_unix - early.not_before_unix, 60);
        let now = OffsetDateTime::now_utc().unix_timestamp();
        assert!(early.not_before_unix > now + 3600 && of("expired").not_after_unix < now);
    }
}

//! The authority and the certificates of `handfast up`: made at the first start, kept and renewed later.

use std::path::{Path, PathBuf};

use certs::{AltName, Authority, InitOptions, Record, Request, Usage};
use model::identity::{LOCAL_NAMESPACE, SpiffeId, TrustDomain};
use time::OffsetDateTime;

use crate::commands::cert::written::Files;
use crate::failure::Failure;
use crate::operator;

/// The client that the mutual site lets in.
pub const ALLOWED: &str = "alice";
/// A client with a good certificate whose name is not on the site's list.
pub const STRANGER: &str = "bob";
/// A client whose certificate was revoked.
pub const REVOKED: &str = "carol";
/// The certificate of both sites.
pub const SITE: &str = "localhost";

/// A certificate chain and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The leaf, then its intermediates, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// All that the two sites and the proof need.
pub struct Credentials {
    /// The roots, PEM.
    pub bundle: PathBuf,
    /// The revocation lists, PEM.
    pub lists: PathBuf,
    /// The certificate of the sites.
    pub site: Pair,
    /// Of [`ALLOWED`].
    pub allowed: Pair,
    /// Of [`STRANGER`].
    pub stranger: Pair,
    /// Of [`REVOKED`].
    pub revoked: Pair,
    /// The authority that issues, with its key: the proof makes its bad certificates with it.
    pub issuer: Pair,
    /// The trust domain of the clients' SPIFFE IDs.
    pub trust_domain: TrustDomain,
    /// What was done, in sentences for the user.
    pub done: Vec<String>,
}

/// Opens or makes the authority in `dir` and sees that every certificate is there and good for a while.
/// The authority is closed again, so that other commands can use it while the sites are up.
pub fn prepare(dir: &Path, now: OffsetDateTime) -> Result<Credentials, Failure> {
    let who = operator::who();
    let mut done = Vec::new();
    let mut authority = if certs::Layout::new(dir).ledger().exists() {
        Authority::open(dir)?
    } else {
        done.push(format!("made a certificate authority in {}", dir.display()));
        Authority::init(dir, &InitOptions::default(), &who, now)?
    };
    let mut issue = |authority: &mut Authority, request: Request| -> Result<(Pair, Record), Failure> {
        let folder = authority.layout().issued();
        let files = Files::new(folder.clone(), &request.name);
        let pair = Pair {
            certificate: files.certificate.clone(),
            key: folder.join(format!("{}.key", request.name)),
        };
        let kept = kept(authority, &request, &pair, now)?;
        let record = match kept {
            Some(record) => record,
            None => {
                files.check_writable()?;
                let issued = authority.issue(&request, &who, now)?;
                files.write(&issued)?;
                done.push(format!("issued {} for {}", files.certificate.display(), names(&request)));
                issued.record
            }
        };
        Ok((pair, record))
    };
    let domain = authority.trust_domain().clone();
    let site = Request::new(SITE)
        .with(AltName::dns(SITE)?)
        .with(AltName::ip("127.0.0.1")?)
        .with(AltName::ip("::1")?)
        .usage(Usage::Server);
    let (site, _) = issue(&mut authority, site)?;
    let (allowed, _) = issue(&mut authority, client(&domain, ALLOWED)?)?;
    let (stranger, _) = issue(&mut authority, client(&domain, STRANGER)?)?;
    let (revoked, record) = issue(&mut authority, client(&domain, REVOKED)?)?;
    if record.revoked.is_none() {
        authority.revoke(&record.serial, certs::Reason::CessationOfOperation, &who, now)?;
        done.push(format!("revoked {}", revoked.certificate.display()));
    }
    authority.publish_lists(now, false)?;
    let layout = authority.layout();
    let issuing = &authority.issuer().name;
    let issuer = Pair { certificate: layout.certificate(issuing), key: layout.key(issuing) };
    let (bundle, lists) = (layout.bundle(), layout.crl());
    Ok(Credentials { bundle, lists, site, allowed, stranger, revoked, issuer, trust_domain: domain, done })
}

/// Publishes fresh revocation lists where the old ones are due.
pub fn publish_lists(dir: &Path, now: OffsetDateTime) -> Result<(), Failure> {
    Authority::open(dir)?.publish_lists(now, false)?;
    Ok(())
}

/// The newest certificate of this name, if its files are there and it need not be renewed yet. A revoked one
/// is kept as long as it would be valid: it is there to be refused.
fn kept(
    authority: &Authority,
    request: &Request,
    files: &Pair,
    now: OffsetDateTime,
) -> Result<Option<Record>, Failure> {
    if !files.certificate.exists() || !files.key.exists() {
        return Ok(None);
    }
    let pem = std::fs::read(&files.certificate).map_err(|e| Failure::reading(&files.certificate, &e))?;
    let leaf = probe::identity::certificates(&pem).ok().and_then(|chain| chain.into_iter().next());
    let issuer = &authority.issuer().name;
    Ok(authority.ledger().by_name(&request.name)?.into_iter().find(|record| {
        let meant_to_be_revoked = request.name == REVOKED;
        record.names == request.names
            && record.issuer == *issuer
            && leaf.as_ref().is_some_and(|leaf| leaf.as_ref() == record.der)
            && record.renew_at() > now
            && (record.revoked.is_none() || meant_to_be_revoked)
    }))
}

fn client(domain: &TrustDomain, name: &str) -> Result<Request, Failure> {
    let id = SpiffeId::service_account(domain, LOCAL_NAMESPACE, name)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Request::new(name).with(AltName::from(&id)))
}

fn names(request: &Request) -> String {
    request.names.iter().map(AltName::value).collect::<Vec<_>>().join(", ")
}

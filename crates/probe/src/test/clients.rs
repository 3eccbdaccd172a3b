//! Rows about client certificates: the good one is let in, every other is turned away.

use super::check::{Check, Spec};
use super::judge::{self, Judgement};
use super::{Context, Expect, Row};
use crate::attempt::{Outcome, Version, attempt};
use crate::forge::certificate::{Digest, Purpose};
use crate::forge::{self, ForgeError, Issuer, rsa1024};
use crate::identity::ClientIdentity;
use rustls_pki_types::CertificateDer;

/// Who comes, or why nobody can.
enum Client {
    Is(ClientIdentity),
    Missing(String),
}

pub(super) async fn row(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    if spec.check == Check::NoCertificate {
        return without(context, spec, version);
    }
    if context.plan.expect == Expect::OneWay {
        return Row::skipped(spec, version, "a one-way server asks for no client certificate");
    }
    let client = match client(context, spec, version) {
        Ok(Client::Is(client)) => client,
        Ok(Client::Missing(reason)) => return Row::skipped(spec, version, reason),
        Err(ForgeError::Impossible(reason)) => return Row::skipped(spec, version, reason),
        Err(error) => return Row::skipped(spec, version, error.to_string()),
    };
    // The survey has tried the good one already.
    let tried = version.and_then(|version| context.proven[version as usize].clone());
    let outcome = match (spec.check, tried) {
        (Check::Good, Some(outcome)) => outcome,
        _ => attempt(context.endpoint(), &context.attempt(version, Some(client))).await,
    };
    if outcome.facts.could_sign == Some(false) {
        return Row::skipped(spec, version, "the server accepts no signature that such a key can make");
    }
    if spec.check == Check::Good {
        return good(context, spec, version, &outcome);
    }
    let judgement = context.judge(version, &outcome);
    let row = Row::refusal(spec, version, &outcome.end, judgement);
    match (&outcome.facts.asked, spec.check) {
        (None, _) if judgement.is_let_in() => row.because(NEVER_ASKED, TURN_ON),
        (Some(_), Check::Revoked) if judgement == Judgement::LetIn => row.because(
            "the server checks certificates but not whether they were revoked (nginx: ssl_crl is missing or old)",
            spec.finding.fix,
        ),
        _ => row,
    }
}

const NEVER_ASKED: &str = "the server never asked for a client certificate (nginx: ssl_verify_client is off)";
const TURN_ON: &str = "nginx: ssl_verify_client on with ssl_client_certificate ca.crt; haproxy: verify required \
    ca-file ca.crt; Handfast: clients.mode: required with clients.ca";

/// No certificate: the survey has tried it already.
fn without(context: &Context, spec: &Spec, version: Option<Version>) -> Row {
    let Some(outcome) = version.and_then(|version| context.surveyed(version)) else {
        return Row::skipped(spec, version, "the server does not speak this version");
    };
    let end = &outcome.end;
    let judgement = context.judge(version, outcome);
    if context.plan.expect == Expect::Mutual {
        let row = Row::refusal(spec, version, end, judgement);
        return match (judgement, &outcome.facts.asked) {
            (Judgement::LetIn, Some(_)) => row.because(
                "the server asks for a certificate but goes on without one (nginx: ssl_verify_client is optional)",
                TURN_ON,
            ),
            (_, None) if judgement.is_let_in() => row.because(NEVER_ASKED, TURN_ON),
            _ => row,
        };
    }
    let mut row = Row::ended(spec, version, end, judgement.is_let_in()).expecting("accepted");
    row.observed = judge::in_words(end, judgement);
    if judgement.is_refused() {
        row.code = Some(model::codes::findings::CERTIFICATE_REQUIRED.id);
        let code = &model::codes::findings::CERTIFICATE_REQUIRED;
        row = row.because(code.cause, code.fix);
    }
    row
}

fn good(context: &Context, spec: &Spec, version: Option<Version>, outcome: &Outcome) -> Row {
    let mut row = Row::ended(spec, version, &outcome.end, outcome.end.is_accepted());
    let without = version.and_then(|version| context.surveyed(version));
    let own = outcome.end.may_refuse() && !outcome.end.names_the_certificate();
    if own && without.is_some_and(|other| other.end.status() == outcome.end.status()) {
        row.observed = judge::in_words(&outcome.end, Judgement::SameForAll);
        return row.because(
            "the same answer comes without any certificate: it is the application's own, and proves nothing",
            "name a path that is served to the good certificate: --http-path /PATH",
        );
    }
    let made = context.plan.credentials.good.is_none();
    match (outcome.end.alert().map(|alert| alert.0), outcome.end.status()) {
        (_, Some(403)) if made => row.because(
            "the certificate made for this test carries an identity that the server does not allow",
            "name a pair that is on the list: --cert client.crt --key client.key",
        ),
        (Some(48), _) | (_, Some(400)) => row.because(
            "the server does not trust the authority of this certificate, or knows no intermediate to it",
            format!("{}; the client must send leaf and intermediates", spec.finding.fix),
        ),
        (Some(45), _) => row.because(
            "the certificate has expired, or one of the clocks is wrong",
            "handfast cert renew NAME; date -u on both sides",
        ),
        (Some(44), _) => row.because(
            "the server's revocation list names this certificate, is expired or is missing for its issuer",
            "handfast cert list --status revoked; handfast ca crl; then reload the server",
        ),
        _ => row,
    }
}

/// Makes or finds the client of a row.
fn client(context: &Context, spec: &Spec, version: Option<Version>) -> Result<Client, ForgeError> {
    let (credentials, check) = (&context.plan.credentials, spec.check);
    if let Some(pair) = credentials.made.get(spec.id) {
        return Ok(Client::Is(pair.clone()));
    }
    let given = |pair: &Option<ClientIdentity>, reason: &str| match pair {
        Some(pair) => Client::Is(pair.clone()),
        None => Client::Missing(reason.into()),
    };
    let is = |made: Result<ClientIdentity, ForgeError>| made.map(Client::Is);
    match check {
        Check::Good => {
            return Ok(given(&context.good, "needs a good pair (--cert, --key) or the CA (--ca-dir)"));
        }
        Check::Revoked => {
            return Ok(given(
                &credentials.revoked,
                "needs a revoked pair: --revoked-cert FILE --revoked-key FILE",
            ));
        }
        Check::SelfSigned => return is(forge::self_signed()),
        // An authority with the same name as the real one, to catch a comparison of names only.
        Check::OtherCa => return is(Issuer::unknown("handfast-test other CA")?.issue(|_| {})),
        Check::Oversized => return oversized(context),
        Check::Malformed => return malformed(context),
        Check::Stranger => {
            if let Some(stranger) = &credentials.stranger {
                return Ok(Client::Is(stranger.clone()));
            }
            if !context.plan.has_list {
                return Ok(Client::Missing(
                    "needs --allow-list (the server keeps a list) or a pair: --stranger-cert, --stranger-key"
                        .into(),
                ));
            }
        }
        _ => {}
    }
    let Some(issuer) = &credentials.issuer else {
        return Ok(Client::Missing(
            "needs the CA: --ca-dir DIR, or --issuer-cert FILE --issuer-key FILE".into(),
        ));
    };
    let day = time::Duration::days(1);
    match check {
        Check::Expired => is(issuer.issue(|draft| {
            draft.not_before -= day * 30;
            draft.not_after -= day;
        })),
        Check::NotYetValid => is(issuer.issue(|draft| {
            draft.not_before += day;
            draft.not_after += day * 2;
        })),
        Check::WrongUsage => is(issuer.issue(|draft| draft.purpose = Purpose::Server)),
        Check::CaAsLeaf => is(issuer.as_leaf()),
        Check::PathTooLong => is(too_long(issuer)),
        Check::WeakRsa => is(rsa1024::client(issuer)),
        Check::Sha1 => is(issuer.issue(|draft| draft.digest = Digest::Sha1)),
        Check::X509V1 => is(issuer.issue(|draft| draft.version = 1)),
        Check::UnknownCritical => is(issuer.issue(|draft| draft.unknown_critical = true)),
        Check::Stranger => is(issuer.issue(|draft| {
            draft.name = "handfast-test stranger".into();
            draft.uri = Some("spiffe://stranger.invalid/ns/nowhere/sa/nobody".into());
        })),
        Check::BareLeaf => bare(context, issuer, version),
        _ => Ok(Client::Missing("nothing to try".into())),
    }
}

/// One authority more than the path length allows.
fn too_long(issuer: &Issuer) -> Result<ClientIdentity, ForgeError> {
    let last = match issuer.is_last() {
        true => issuer.subordinate("handfast-test below the last CA", None)?,
        false => issuer
            .subordinate("handfast-test last CA", Some(0))?
            .subordinate("handfast-test below the last CA", None)?,
    };
    last.issue(|_| {})
}

/// A leaf alone, below an intermediate that the server cannot know.
fn bare(context: &Context, issuer: &Issuer, version: Option<Version>) -> Result<Client, ForgeError> {
    let leaf_of = |issuer: &Issuer| -> Result<Client, ForgeError> {
        let whole = issuer.issue(|_| {})?;
        Ok(Client::Is(whole.with_chain(whole.chain().iter().take(1).cloned().collect())))
    };
    if !issuer.is_last() {
        return leaf_of(&issuer.subordinate("handfast-test unsent intermediate", Some(0))?);
    }
    if issuer.is_root() {
        return Ok(Client::Missing("the authority is a root that may have no intermediates".into()));
    }
    // The intermediate in use: a server that names it as trusted may rightly accept the bare leaf.
    let asked = version.and_then(|v| context.surveyed(v)).and_then(|o| o.facts.asked.as_ref());
    if asked.is_some_and(|asked| asked.authorities.iter().any(|name| name == issuer.subject())) {
        return Ok(Client::Missing("the server trusts the intermediate itself".into()));
    }
    leaf_of(issuer)
}

/// The good chain (or a self-signed one), followed by more than 128 KiB that nobody needs.
fn oversized(context: &Context) -> Result<Client, ForgeError> {
    let base = match &context.good {
        Some(good) => good.clone(),
        None => forge::self_signed()?,
    };
    let other = Issuer::unknown("handfast-test filler")?;
    let filler = other.issue(|draft| draft.uri = Some(format!("urn:filler:{}", "x".repeat(30_000))))?;
    let mut chain = base.chain().to_vec();
    chain.extend(std::iter::repeat_n(filler.chain().first().cloned(), 5).flatten());
    Ok(Client::Is(base.with_chain(chain)))
}

/// A leaf whose outer lengths are right and whose inside is not DER.
fn malformed(context: &Context) -> Result<Client, ForgeError> {
    let base = match &context.good {
        Some(good) => good.clone(),
        None => forge::self_signed()?,
    };
    let mut chain = base.chain().to_vec();
    if let Some(leaf) = chain.first_mut() {
        let mut der = leaf.to_vec();
        // The first 16 bytes hold the outer headers; behind them every tag becomes a private one.
        der.iter_mut().skip(8).step_by(3).for_each(|byte| *byte |= 0xc0);
        *leaf = CertificateDer::from(der);
    }
    Ok(Client::Is(base.with_chain(chain)))
}

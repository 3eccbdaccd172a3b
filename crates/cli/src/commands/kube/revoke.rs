//! `handfast kube revoke`: marks a certificate in the authority's Secret. The controller does the rest: the list, the
//! audit log, a new certificate in the Secret.

use certs::{Reason, Serial, rfc3339};
use controller::Certificate;
use controller::authority::{AuthorityStore, Member, Revocation, Standing, State};
use controller::names::SYSTEM_NAMESPACE;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client};
use model::codes::kube as codes;
use serde::Serialize;
use time::OffsetDateTime;

use super::connect::{Cluster, block_on};
use super::listing;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, Failure, Outcome};
use crate::output;

/// Arguments of `handfast kube revoke`.
#[derive(clap::Args)]
#[command(after_help = "Exit codes: 0 revoked, or was revoked already · 1 not done · 2 wrong usage.\n\n\
    Revoking a certificate does not end connections that are open, and reaches only verifiers that use the lists: the \
    sidecar does, and what mounts crl.pem of the ConfigMap handfast-trust.")]
pub struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// The managed Secret, NAMESPACE/NAME, whose certificate is revoked. It gets a new one at once.
    #[arg(value_name = "NAMESPACE/NAME", required_unless_present = "serial")]
    secret: Option<String>,
    /// The certificate with this serial number, hexadecimal, wherever it is.
    #[arg(long, env = "HANDFAST_KUBE_REVOKE_SERIAL", value_name = "SERIAL", conflicts_with = "secret")]
    serial: Option<Serial>,
    /// The authority that signed it, where no managed Secret holds the serial number. It has to be named while there are
    /// several; naming another one than before corrects the entry.
    #[arg(long, env = "HANDFAST_KUBE_REVOKE_ISSUER", value_name = "NAME", requires = "serial")]
    issuer: Option<String>,
    /// Why: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation,
    /// privilegeWithdrawn.
    #[arg(long, env = "HANDFAST_REASON", default_value = "unspecified")]
    reason: Reason,
    /// Namespace of the controller.
    #[arg(long, env = "HANDFAST_NAMESPACE", default_value = SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    system_namespace: String,
    /// Say what would be revoked, and revoke nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Document {
    version: u8,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    serial: String,
    issuer: String,
    not_after: String,
    reason: String,
    revoked_at: String,
    revoked_before: bool,
}

/// A certificate that is to be revoked.
struct Target {
    serial: Serial,
    issuer: String,
    not_after: OffsetDateTime,
    secret: Option<String>,
}

/// Runs `handfast kube revoke`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    let document = block_on(revoke(&args))?;
    output::print(globals.output, &document, || {
        let verb = match (document.dry_run, document.revoked_before) {
            (_, true) => "was revoked already:",
            (true, _) => "would revoke",
            _ => "revoked",
        };
        let of = document.secret.as_ref().map(|name| format!(" of Secret {name}")).unwrap_or_default();
        format!(
            "{verb} certificate {}{of}, signed by {}, valid until {}: {}\n",
            document.serial, document.issuer, document.not_after, document.reason
        )
    })?;
    Ok(EXIT_OK)
}

async fn revoke(args: &Args) -> Result<Document, Failure> {
    let client = args.cluster.client().await?;
    let store = AuthorityStore::new(client.clone(), &args.system_namespace);
    let state = store.load().await?.ok_or_else(|| {
        Failure::new(&codes::AUTHORITY_MISSING, "there is no authority yet: the controller has not started")
    })?;
    let now = OffsetDateTime::now_utc();
    let at = now.replace_nanosecond(0).unwrap_or(now);
    let target = match (&args.secret, &args.serial) {
        (Some(name), _) => of_secret(&client, &state, name).await?,
        (None, Some(serial)) => of_serial(&client, &state, serial, args.issuer.as_deref(), at).await?,
        (None, None) => return Err(Failure::usage("name a Secret, or a --serial")),
    };
    let revocation =
        Revocation { issuer: target.issuer.clone(), reason: args.reason, at, not_after: target.not_after };
    let signer = state.member(&target.issuer);
    listed(signer.ok_or_else(|| Failure::new(&codes::REVOKE_UNKNOWN, "its authority is not known"))?)?;
    let before =
        state.revocations.get(&target.serial).filter(|before| before.issuer == target.issuer).cloned();
    let state = match args.dry_run {
        true => state.revoke(target.serial.clone(), revocation.clone()),
        false => store.change(|state| Ok(state.revoke(target.serial.clone(), revocation.clone()))).await?,
    };
    let stands = state.revocations.get(&target.serial).unwrap_or(&revocation);
    Ok(Document {
        version: 1,
        dry_run: args.dry_run,
        secret: target.secret,
        serial: target.serial.to_string().to_lowercase(),
        issuer: stands.issuer.clone(),
        not_after: rfc3339(stands.not_after),
        reason: stands.reason.to_string(),
        revoked_at: rfc3339(stands.at),
        revoked_before: before.is_some(),
    })
}

/// Refuses what no list will ever name: it would look revoked, and be accepted everywhere.
fn listed(signer: &Member) -> Result<(), Failure> {
    let name = &signer.name;
    let why = if signer.standing == Standing::Retired || signer.issuer.is_none() {
        format!(
            "{name} signs no lists any more: it is retired, and whoever has the present bundles does not trust it"
        )
    } else if !signer.certificate.signs_crls {
        format!(
            "{name} may sign no lists: its key usage lacks cRLSign; rotate it away to end its certificates"
        )
    } else {
        return Ok(());
    };
    Err(Failure::new(&codes::REVOKE_UNKNOWN, why))
}

/// The authority that a person means.
fn signer<'a>(state: &'a State, named: Option<&str>) -> Result<&'a Member, Failure> {
    let all: Vec<&Member> =
        state.members.iter().filter(|m| !m.is_root() && m.standing != Standing::Retired).collect();
    let known = || all.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
    match (named, all.as_slice()) {
        (Some(name), _) => state.member(name).filter(|member| !member.is_root()).ok_or_else(|| {
            Failure::usage(format!("there is no authority {name:?} that issues; known: {}", known()))
        }),
        (None, [one]) => Ok(one),
        (None, _) => Err(Failure::usage(format!(
            "several authorities may have signed it, and a wrong list revokes nothing: say which with --issuer; known: {}",
            known()
        ))),
    }
}

async fn of_secret(client: &Client, state: &State, full_name: &str) -> Result<Target, Failure> {
    let unknown = |why: &str| Failure::new(&codes::REVOKE_UNKNOWN, format!("Secret {full_name} {why}"));
    let (namespace, name) = full_name
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| Failure::usage(format!("{full_name:?} is not NAMESPACE/NAME")))?;
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(name).await;
    let found = found.map_err(controller::Error::api(format!("read the Secret {full_name}")))?;
    let found = found.ok_or_else(|| unknown("does not exist"))?;
    let text = found.data.and_then(|mut data| data.remove("tls.crt")).unwrap_or_default();
    let text = String::from_utf8(text.0).map_err(|_| unknown("holds a tls.crt that is no text"))?;
    let chain =
        certs::certificates_of_pem(&text).map_err(|why| unknown(&format!("holds no certificate: {why}")))?;
    let leaf = chain.first().ok_or_else(|| unknown("holds no certificate"))?;
    // What it says in its annotations is not asked: the certificate itself is what has to be refused.
    let issuer = state.issuer_of(leaf).ok_or_else(|| unknown("holds a certificate of another authority"))?;
    let seen = certs::inspect::certificate(leaf)
        .map_err(|why| unknown(&format!("holds a certificate that cannot be read: {why}")))?;
    Ok(Target {
        serial: seen.serial.parse().map_err(|_| unknown("holds a certificate without a serial number"))?,
        issuer: issuer.name.clone(),
        not_after: OffsetDateTime::from_unix_timestamp(seen.not_after_unix)
            .map_err(|_| unknown("holds a certificate with a date that is none"))?,
        secret: Some(full_name.to_owned()),
    })
}

/// By serial number: what a managed Secret holds, or else one that nobody sees, with the longest life that it can have.
async fn of_serial(
    client: &Client,
    state: &State,
    serial: &Serial,
    issuer: Option<&str>,
    now: OffsetDateTime,
) -> Result<Target, Failure> {
    let all = listing::all(&Api::<Certificate>::all(client.clone()), &ListParams::default()).await;
    for certificate in all.map_err(controller::Error::api("list the Certificates"))? {
        let status = certificate.status.as_ref().and_then(|status| status.serial.as_ref());
        if status.and_then(|text| text.parse().ok()).as_ref() == Some(serial) {
            let namespace = certificate.metadata.namespace.as_deref().unwrap_or_default();
            let name = format!("{namespace}/{}", certificate.spec.secret_name);
            let target = of_secret(client, state, &name).await?;
            // The status may be behind the Secret.
            if target.serial == *serial {
                return Ok(target);
            }
        }
    }
    let issuer = signer(state, issuer)?;
    Ok(Target {
        serial: serial.clone(),
        issuer: issuer.name.clone(),
        not_after: (now + state.longest_leaf_of(&issuer.name)).min(issuer.certificate.not_after),
        secret: None,
    })
}

#[cfg(test)]
mod tests {
    use controller::authority::Subject;
    use model::identity::TrustDomain;

    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-01 12:00 UTC);

    #[test]
    fn the_authority_is_named_while_there_are_several_and_has_to_publish_lists() {
        let one = State::new(TrustDomain::default(), NOW).unwrap();
        assert_eq!(signer(&one, None).ok().map(|m| m.name.as_str()), Some("intermediate-1"));
        let two = one.start(Subject::Root, NOW).unwrap();
        let refused = signer(&two, None).err().map(|failure| failure.sentence()).unwrap_or_default();
        assert!(refused.contains("--issuer") && refused.contains("intermediate-2"), "{refused}");
        assert!(signer(&two, Some("root-1")).is_err() && signer(&two, Some("other")).is_err());
        let named = signer(&two, Some("intermediate-2")).unwrap_or_else(|_| panic!("it is there"));
        assert!(listed(named).is_ok());
        let given_up = two.abort(NOW).unwrap();
        let gone = given_up.member("intermediate-2").unwrap();
        assert!(listed(gone).err().is_some_and(|failure| failure.sentence().contains("retired")));
        let mut silent = one.member("intermediate-1").unwrap().clone();
        silent.certificate.signs_crls = false;
        assert!(listed(&silent).err().is_some_and(|failure| failure.sentence().contains("cRLSign")));
    }
}

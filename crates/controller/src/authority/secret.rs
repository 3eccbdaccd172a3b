//! How the authority lies in its Secret: `state.json`, one `NAME.crt` and, where the key is here, one `NAME.key`
//! for each member, and `ca.crt` for people. What is read is checked as if a stranger had written it.

use std::collections::BTreeMap;
use std::sync::Arc;

use certs::{CaCertificate, Issuer, PrivateKey, Reason, Serial, certificates_of_pem};
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::state::{Member, Revocation, Rotation, Standing, State, Step, Subject, Taken};
use crate::error::{Error, Result};

const STATE: &str = "state.json";
/// Of `state.json`. A newer one is refused, never half understood.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    version: u32,
    trust_domain: String,
    members: Vec<MemberDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationDocument>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    revocations: BTreeMap<String, RevocationDocument>,
    longest_leaf_seconds: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    crl_numbers: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<TakenDocument>,
}

#[derive(Serialize, Deserialize)]
struct TakenDocument {
    number: u64,
    at: i64,
    reason: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct MemberDocument {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    standing: String,
}

#[derive(Serialize, Deserialize)]
struct RotationDocument {
    subject: String,
    step: String,
    old: String,
    new: String,
    since: i64,
    #[serde(default, rename = "oldLongestSeconds", skip_serializing_if = "Option::is_none")]
    old_longest: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RevocationDocument {
    issuer: String,
    reason: u8,
    at: i64,
    not_after: i64,
}

/// The data of the Secret.
///
/// # Errors
///
/// When the state cannot be encoded.
pub(super) fn write(state: &State) -> Result<BTreeMap<String, ByteString>> {
    let document = Document {
        version: VERSION,
        trust_domain: state.trust_domain.to_string(),
        members: state
            .members
            .iter()
            .map(|member| MemberDocument {
                name: member.name.clone(),
                parent: member.parent.clone(),
                standing: member.standing.as_str().to_owned(),
            })
            .collect(),
        rotation: state.rotation.as_ref().map(|rotation| RotationDocument {
            subject: rotation.subject.as_str().to_owned(),
            step: rotation.step.as_str().to_owned(),
            old: rotation.old.clone(),
            new: rotation.new.clone(),
            since: rotation.since.unix_timestamp(),
            old_longest: rotation.old_longest.map(Duration::whole_seconds),
        }),
        revocations: state
            .revocations
            .iter()
            .map(|(serial, revocation)| (serial.to_string(), RevocationDocument::of(revocation)))
            .collect(),
        longest_leaf_seconds: state.longest_leaf.whole_seconds(),
        crl_numbers: state.crl_numbers.clone(),
        steps: state.taken.iter().map(TakenDocument::of).collect(),
    };
    let json = serde_json::to_vec_pretty(&document).map_err(|e| broken(format!("{STATE}: {e}")))?;
    let mut data = BTreeMap::from([
        (STATE.to_owned(), ByteString(json)),
        ("ca.crt".to_owned(), ByteString(state.trust_bundle_pem().into_bytes())),
    ]);
    for member in &state.members {
        let pem = state.intermediates_pem(member).into_bytes();
        data.insert(format!("{}.crt", member.name), ByteString(pem));
        if let Some(issuer) = &member.issuer {
            let pem = issuer.key().to_pem().as_bytes().to_vec();
            data.insert(format!("{}.key", member.name), ByteString(pem));
        }
    }
    Ok(data)
}

/// The state of the Secret's data; `None` when there is none: the installer makes the Secret empty.
///
/// # Errors
///
/// When anything of it is missing, contradicts the rest, or was written by a newer version.
pub(super) fn read(data: &BTreeMap<String, ByteString>) -> Result<Option<State>> {
    let Some(json) = data.get(STATE) else {
        return match data.is_empty() {
            true => Ok(None),
            false => Err(broken(format!("it has data, but no {STATE}"))),
        };
    };
    let document: Document = serde_json::from_slice(&json.0).map_err(|e| broken(format!("{STATE}: {e}")))?;
    if document.version != VERSION {
        return Err(broken(format!(
            "{STATE} has version {}, and this binary knows {VERSION}",
            document.version
        )));
    }
    let trust_domain = document.trust_domain.parse().map_err(|e| broken(format!("its trust domain: {e}")))?;
    let members =
        document.members.into_iter().map(|member| read_member(member, data)).collect::<Result<Vec<_>>>()?;
    let state = State {
        trust_domain,
        members,
        rotation: document.rotation.map(RotationDocument::read).transpose()?,
        revocations: document
            .revocations
            .into_iter()
            .map(|(serial, revocation)| Ok((serial.parse::<Serial>()?, revocation.read()?)))
            .collect::<Result<_>>()?,
        longest_leaf: Duration::seconds(document.longest_leaf_seconds.max(0)),
        crl_numbers: document.crl_numbers,
        taken: document.steps.into_iter().map(TakenDocument::read).collect::<Result<_>>()?,
        version: None,
    };
    check(&state)?;
    Ok(Some(state))
}

/// What belongs together is together: each intermediate was signed by its root, or by what is between them.
fn check(state: &State) -> Result<()> {
    state.active()?;
    for (index, member) in state.members.iter().enumerate() {
        if state.members.iter().skip(index + 1).any(|other| other.name == member.name) {
            return Err(broken(format!("{} stands in it twice", member.name)));
        }
        let Some(parent) = &member.parent else { continue };
        let root = state.member(parent).ok_or_else(|| broken(format!("{parent} is missing")))?;
        let mut above = certs::read_chain(&state.intermediates_pem(member))?;
        above.push(root.certificate.clone());
        for pair in above.windows(2) {
            if let [below, above] = pair {
                above.signed(&below.der)?;
            }
        }
    }
    if let Some(rotation) = &state.rotation {
        for name in [&rotation.old, &rotation.new] {
            state
                .member(name)
                .ok_or_else(|| broken(format!("the rotation names {name}, which is missing")))?;
        }
    }
    Ok(())
}

fn read_member(document: MemberDocument, data: &BTreeMap<String, ByteString>) -> Result<Member> {
    let name = document.name;
    let of = |what: String| broken(format!("{name}: {what}"));
    let standing = [Standing::Standby, Standing::Active, Standing::Former, Standing::Retired]
        .into_iter()
        .find(|standing| standing.as_str() == document.standing)
        .ok_or_else(|| of(format!("{:?} is no standing", document.standing)))?;
    let pem = data.get(&format!("{name}.crt")).ok_or_else(|| of("its certificate is missing".to_owned()))?;
    let pem = std::str::from_utf8(&pem.0).map_err(|_| of("its certificate is no text".to_owned()))?;
    let ders = certificates_of_pem(pem).map_err(|e| of(e.to_string()))?;
    let (first, above) = ders.split_first().ok_or_else(|| of("its certificate is missing".to_owned()))?;
    let certificate = CaCertificate::parse(first).map_err(|e| of(e.to_string()))?;
    let issuer = match data.get(&format!("{name}.key")) {
        Some(key) => {
            let text = Zeroizing::new(
                String::from_utf8(key.0.clone()).map_err(|_| of("its key is no text".to_owned()))?,
            );
            let key = PrivateKey::from_pem(&text, None).map_err(|e| of(e.to_string()))?;
            Some(Arc::new(Issuer::new(certificate.clone(), key).map_err(|e| of(e.to_string()))?))
        }
        None => None,
    };
    let above = above.iter().map(|der| certs::pem("CERTIFICATE", der)).collect();
    Ok(Member { name, parent: document.parent, standing, certificate, above, issuer })
}

impl RotationDocument {
    fn read(self) -> Result<Rotation> {
        let wrong = |what: &str| broken(format!("the rotation has no {what} that is known"));
        Ok(Rotation {
            subject: [Subject::Root, Subject::Intermediate]
                .into_iter()
                .find(|subject| subject.as_str() == self.subject)
                .ok_or_else(|| wrong("subject"))?,
            step: [Step::Distributing, Step::Confirmed, Step::Switched]
                .into_iter()
                .find(|step| step.as_str() == self.step)
                .ok_or_else(|| wrong("step"))?,
            old: self.old,
            new: self.new,
            since: date(self.since)?,
            old_longest: self.old_longest.map(|seconds| Duration::seconds(seconds.max(0))),
        })
    }
}

impl TakenDocument {
    fn of(taken: &Taken) -> Self {
        let Taken { number, at, reason, text } = taken.clone();
        Self { number, at: at.unix_timestamp(), reason, text }
    }

    fn read(self) -> Result<Taken> {
        Ok(Taken { number: self.number, at: date(self.at)?, reason: self.reason, text: self.text })
    }
}

impl RevocationDocument {
    fn of(revocation: &Revocation) -> Self {
        Self {
            issuer: revocation.issuer.clone(),
            reason: revocation.reason.number(),
            at: revocation.at.unix_timestamp(),
            not_after: revocation.not_after.unix_timestamp(),
        }
    }

    fn read(self) -> Result<Revocation> {
        Ok(Revocation {
            issuer: self.issuer,
            reason: Reason::of_number(self.reason),
            at: date(self.at)?,
            not_after: date(self.not_after)?,
        })
    }
}

fn date(seconds: i64) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| broken(format!("{seconds} is no date")))
}

fn broken(what: String) -> Error {
    Error::AuthorityBroken(what)
}

#[cfg(test)]
mod tests;

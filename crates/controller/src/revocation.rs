//! What the authority publishes and what is recorded of it: the signed revocation lists in their ConfigMap, and a
//! line of the audit log with an Event for each revocation and each step of a rotation.
//!
//! The ConfigMap itself says how far this went: what is on its lists was recorded, and an annotation holds the mark
//! of the last step. A record is written before its list, so whatever is killed in between loses none; the next
//! leader may write one a second time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use certs::{List, Reason, Revoked, Serial};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::audit::{Action, Audit, Record};
use crate::authority::{AuthorityStore, Member, Revocation, Standing, State, Taken, steps};
use crate::clock::Clock;
use crate::error::{Error, Result, chain};
use crate::names::{AUTHORITY_SECRET, CONTROLLER, RECORDED_ANNOTATION, REVOCATION_CONFIG_MAP};

#[cfg(test)]
mod tests;

/// After a pass that failed.
const AGAIN: Duration = Duration::from_secs(10);
/// The longest that a list is left without a look at it: somebody may have taken it away.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// What keeps them.
pub struct Records {
    /// The API server.
    pub client: Client,
    /// The controller's namespace.
    pub namespace: String,
    /// The authority's Secret.
    pub store: AuthorityStore,
    /// The authority.
    pub authority: watch::Receiver<Arc<State>>,
    /// Where the lists go when they are published, PEM, for the trust bundles.
    pub published: watch::Sender<String>,
    /// The audit log.
    pub audit: Audit,
    /// Writes Events.
    pub recorder: Recorder,
    /// This clock, as compared with the API server's.
    pub clock: Clock,
}

/// What has to be done about the lists.
#[derive(Debug, Default)]
struct Due {
    /// Authorities whose list has to be signed anew.
    sign: Vec<String>,
    /// What is published and stays.
    keep: BTreeMap<String, String>,
    /// When to look again at the latest.
    next: Option<OffsetDateTime>,
}

impl Records {
    /// Keeps them. Never returns.
    pub async fn keep(mut self) {
        loop {
            let state = Arc::clone(&self.authority.borrow_and_update());
            let wait = match self.pass(&state).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!("the revocation lists were not published: {}", chain(&error));
                    AGAIN
                }
            };
            tokio::select! {
                _ = self.authority.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn pass(&self, state: &State) -> Result<Duration> {
        let name = format!("{}/{REVOCATION_CONFIG_MAP}", self.namespace);
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(REVOCATION_CONFIG_MAP).await;
        let found = found.map_err(Error::api(format!("read the ConfigMap {name}")))?.ok_or_else(|| {
            let reason = "it does not exist; put it back with: handfast kube install --apply".to_owned();
            Error::Answer { action: format!("read the ConfigMap {name}"), reason, status: 404 }
        })?;
        let now = OffsetDateTime::now_utc();
        let published = found.data.unwrap_or_default();
        let recorded = found.metadata.annotations.as_ref().and_then(|all| all.get(RECORDED_ANNOTATION));
        let mark = steps::mark(state);
        let mut due = due(state, &published, now);
        for taken in steps::unrecorded(recorded.map(String::as_str), state) {
            self.record_step(state, taken).await?;
        }
        let mut lists = std::mem::take(&mut due.keep);
        if !due.sign.is_empty() {
            self.clock.check()?;
            // The number is taken before the list is signed: no two lists have the same, whatever is killed.
            let numbered = self.store.change(|state| Ok(state.with_next_lists(&due.sign, now))).await?;
            // Of that very state: what was revoked since it was seen is on the lists too.
            for (serial, revocation) in fresh(&numbered, &due.sign, &published, now) {
                self.record_revocation(serial, revocation).await?;
            }
            for name in &due.sign {
                let list = sign(&numbered, name, now)?;
                due.next = due.next.into_iter().chain([list.half_time()]).min();
                tracing::info!(number = list.number, "signed the revocation list of {name}");
                lists.insert(key(name), list.to_pem());
            }
        }
        let pem: String = lists.values().map(String::as_str).collect();
        if lists != published || recorded != Some(&mark) {
            let mut map = ConfigMap { data: Some(lists), ..ConfigMap::default() };
            map.metadata.name = Some(REVOCATION_CONFIG_MAP.to_owned());
            // Of two that publish, one reads again.
            map.metadata.resource_version = found.metadata.resource_version;
            map.metadata.annotations = Some(BTreeMap::from([(RECORDED_ANNOTATION.to_owned(), mark)]));
            let params = PatchParams::apply(CONTROLLER).force();
            let written = api.patch(REVOCATION_CONFIG_MAP, &params, &Patch::Apply(map)).await;
            written.map_err(Error::api(format!("write the ConfigMap {name}")))?;
        }
        self.published.send_if_modified(|before| std::mem::replace(before, pem.clone()) != pem);
        let left = due.next.map_or(LOOK_AGAIN, |next| Duration::try_from(next - now).unwrap_or_default());
        Ok(left.clamp(Duration::from_secs(1), LOOK_AGAIN))
    }

    async fn record_step(&self, state: &State, taken: &Taken) -> Result<()> {
        let text = &format!("{} (step {}, {})", taken.text, taken.number, certs::rfc3339(taken.at));
        let active = state.active().map(|(member, _)| member.name.clone()).unwrap_or_default();
        let mut record = Record::new(Action::Rotate, "Authority", &self.namespace, &active, text);
        record.issuer = &active;
        self.write(&record)?;
        tracing::info!("{text}");
        self.event(&taken.reason, "Rotate", text).await;
        Ok(())
    }

    async fn record_revocation(&self, serial: &Serial, revocation: &Revocation) -> Result<()> {
        let (serial, not_after) = (serial.to_string().to_lowercase(), certs::rfc3339(revocation.not_after));
        let reason = revocation.reason.to_string();
        let mut record =
            Record::new(Action::Revoke, "Authority", &self.namespace, &revocation.issuer, &reason);
        (record.serial, record.not_after, record.issuer) = (&serial, &not_after, &revocation.issuer);
        self.write(&record)?;
        let text = format!("certificate {serial} of {} is revoked: {reason}", revocation.issuer);
        tracing::info!("{text}");
        self.event("Revoked", "Revoke", &text).await;
        Ok(())
    }

    fn write(&self, record: &Record<'_>) -> Result<()> {
        let action = || "write the audit log".to_owned();
        let written = self.audit.write(record);
        written.map_err(|e| Error::Answer { action: action(), reason: e.to_string(), status: 0 })
    }

    async fn event(&self, reason: &str, action: &str, note: &str) {
        let event = Event {
            type_: EventType::Normal,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            name: Some(AUTHORITY_SECRET.to_owned()),
            namespace: Some(self.namespace.clone()),
            ..ObjectReference::default()
        };
        if let Err(error) = self.recorder.publish(&event, &about).await {
            tracing::debug!("no Event was written: {}", chain(&error));
        }
    }
}

/// The key of an authority's list in the ConfigMap.
pub fn key(authority: &str) -> String {
    format!("{authority}.crl")
}

fn due(state: &State, published: &BTreeMap<String, String>, now: OffsetDateTime) -> Due {
    let mut due = Due::default();
    for member in state.members.iter().filter(|member| member.certificate.signs_crls) {
        let text = published.get(&key(&member.name));
        let read = read(member, published);
        let listed = read.as_ref().map(|(_, serials)| serials.as_slice());
        let proof = Serial::of_proof(&member.certificate);
        let complete = missing(state, member, listed, now).is_empty()
            && listed.is_some_and(|listed| listed.contains(&proof));
        if !can_sign(member, now) {
            // A list goes on as long as it is good: without it, what was revoked would be good again.
            if let (Some(text), Some((list, _))) = (text, read)
                && list.next_update > now
            {
                due.keep.insert(key(&member.name), text.clone());
            }
            continue;
        }
        match (text, read) {
            (Some(text), Some((list, _)))
                if complete && now < list.half_time() && list.this_update <= now =>
            {
                due.keep.insert(key(&member.name), text.clone());
                due.next = due.next.into_iter().chain([list.half_time()]).min();
            }
            _ => due.sign.push(member.name.clone()),
        }
    }
    due
}

fn can_sign(member: &Member, now: OffsetDateTime) -> bool {
    member.issuer.is_some()
        && member.standing != Standing::Retired
        && member.certificate.check_time(now).is_ok()
}

/// The published list of an authority, where there is a good one.
fn read(member: &Member, published: &BTreeMap<String, String>) -> Option<(List, Vec<Serial>)> {
    let text = published.get(&key(&member.name))?;
    List::read(&member.name, text, &member.certificate).ok()
}

/// What an authority has revoked and a list does not name.
fn missing<'a>(
    state: &'a State,
    member: &Member,
    listed: Option<&[Serial]>,
    now: OffsetDateTime,
) -> Vec<(&'a Serial, &'a Revocation)> {
    let of_member = state.revocations.iter().filter(|(_, revocation)| revocation.issuer == member.name);
    of_member
        .filter(|(_, revocation)| revocation.not_after > now)
        .filter(|(serial, _)| !listed.is_some_and(|listed| listed.contains(serial)))
        .collect()
}

/// What these authorities have revoked and no published list names: it has to be recorded before a list does.
fn fresh<'a>(
    state: &'a State,
    authorities: &[String],
    published: &BTreeMap<String, String>,
    now: OffsetDateTime,
) -> Vec<(&'a Serial, &'a Revocation)> {
    let mut fresh = Vec::new();
    for member in authorities.iter().filter_map(|name| state.member(name)) {
        let read = read(member, published);
        let listed = read.as_ref().map(|(_, serials)| serials.as_slice());
        fresh.extend(missing(state, member, listed, now));
    }
    fresh
}

fn sign(state: &State, name: &str, now: OffsetDateTime) -> Result<List> {
    let member = state.member(name);
    let issuer = member.and_then(|member| member.issuer.as_ref());
    let issuer = issuer.ok_or_else(|| Error::Step(format!("the key of {name} is gone")))?;
    let proof = Revoked {
        serial: Serial::of_proof(issuer.certificate()),
        at: issuer.certificate().not_before,
        reason: Reason::Unspecified,
        not_after: issuer.certificate().not_after,
    };
    let revoked = state.revocations.iter().filter(|(_, revocation)| revocation.issuer == name).map(
        |(serial, revocation)| Revoked {
            serial: serial.clone(),
            at: revocation.at,
            reason: revocation.reason,
            not_after: revocation.not_after,
        },
    );
    let revoked: Vec<Revoked> = revoked.chain([proof]).collect();
    let number = state.crl_numbers.get(name).copied().unwrap_or(1);
    Ok(List::sign(name, number, issuer, &revoked, now)?)
}

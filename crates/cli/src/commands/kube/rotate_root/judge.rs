//! What the evidence says about a step. Pure. A finding is either stale, and then only its object can mend it, or
//! unseen, and then a person may say that he has looked himself.

use certs::inspect;
use controller::authority::{Member, Standing, State, Subject};
use controller::revocation;
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::evidence::{Bundle, Evidence, Observed, new_roots};
use super::mounts::{Holds, Place, Source, User};
use super::served::Asks;

#[cfg(test)]
mod tests;

/// Kubelet brings a changed Secret within this: a container that starts sooner may have started with the old one.
const KUBELET: Duration = Duration::seconds(120);

/// Whether it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Seen, and not as it has to be.
    Stale,
    /// Not seen.
    Unseen,
}

/// Why a step is not safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stale or unseen.
    pub kind: Kind,
    /// As in `Pod shop/web-5d8f`.
    pub object: String,
    /// In words.
    pub why: String,
}

/// What a person takes upon himself.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Pods and workloads, `NAMESPACE/NAME`, whose unseen parts he has looked at.
    pub accept_unseen: Vec<String>,
    /// All applications load changed files by themselves.
    pub applications_reload: bool,
    /// What is left behind, `NAMESPACE` or `NAMESPACE/NAME`: whoever may write there could else keep the step from
    /// being taken for ever.
    pub leave_behind: Vec<String>,
}

impl Choices {
    fn accept(&self, user: &User) -> bool {
        self.accept_unseen.iter().any(|name| *name == user.name || *name == user.workload)
    }

    /// Parts findings into those that count and those that are left behind.
    pub fn part(&self, findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
        let left = |finding: &Finding| {
            // As in `Pod shop/web-1`; what has no namespace is nobody's but the operator's.
            let name = finding.object.split_once(' ').map_or("", |(_, name)| name);
            let namespace = name.split_once('/').map(|(namespace, _)| namespace);
            namespace.is_some_and(|namespace| {
                self.leave_behind.iter().any(|given| given == namespace || given == name)
            })
        };
        findings.into_iter().partition(|finding| !left(finding))
    }
}

/// Before `confirm`: the objects that bring the new root to verifiers.
pub fn bundles(state: &State, evidence: &Evidence, now: OffsetDateTime) -> Vec<Finding> {
    let roots = new_roots(state);
    let mut findings = Vec::new();
    let all = evidence.bundles.values().chain(evidence.secrets.values().map(|secret| &secret.bundle));
    findings.extend(all.filter_map(|bundle| lacks(bundle, &roots)));
    let Some(rotation) = &state.rotation else { return findings };
    let new = state.member(&rotation.new);
    let root = match rotation.subject {
        Subject::Root => new.and_then(|member| member.parent.as_deref()).and_then(|root| state.member(root)),
        Subject::Intermediate => None,
    };
    for member in new.into_iter().chain(root).filter(|member| member.certificate.signs_crls) {
        let Some(list) = evidence.lists.get(&revocation::key(&member.name)) else {
            let object = format!("revocation list of {}", member.name);
            findings.push(stale(object, "the controller has not published it yet".to_owned()));
            continue;
        };
        findings.extend(
            evidence
                .list_users
                .iter()
                .filter_map(|namespace| listless(evidence.bundles.get(namespace)?, list, &member.name, now)),
        );
    }
    findings
}

/// Before `confirm`: what running pods have and trust.
pub fn verifiers(state: &State, evidence: &Evidence, choices: &Choices) -> Vec<Finding> {
    let roots = new_roots(state);
    if roots.is_empty() || state.rotation.as_ref().is_some_and(|r| r.subject == Subject::Intermediate) {
        return Vec::new();
    }
    let new = state.rotation.as_ref().and_then(|rotation| state.member(&rotation.new));
    let root = new.and_then(|member| member.parent.as_deref()).and_then(|root| state.member(root));
    let subject = root.map(|root| root.certificate.subject_der.clone()).unwrap_or_default();
    let mut findings = Vec::new();
    for pod in &evidence.pods {
        let mut told = Told::new(&pod.user, choices);
        let mut loaded = true;
        for (place, seen) in pod.places(Holds::Bundle) {
            match seen {
                Ok(held) if roots.iter().all(|root| held.contains(root)) => {
                    // What was there at the container's start is what its process has read.
                    loaded &= place.frozen || fresh(evidence, &pod.user, &place.container);
                }
                Ok(_) => told.stale(format!("{} lacks the new root: {}", at(place), slowness(place))),
                Err(why) => told.unseen(format!("{} was not seen: {why}", at(place))),
            }
        }
        let asked: Vec<(u16, &Asks)> = pod.shown().map(|(port, shown)| (port, &shown.asks)).collect();
        for (port, asks) in &asked {
            if let Asks::Named(names) = asks
                && !names.contains(&subject)
            {
                told.stale(format!(
                    "the process at port {port} asks for clients of other roots only: it has not loaded the new one"
                ));
            }
        }
        let verifies = |asks: &Asks| match asks {
            Asks::Named(names) => names.contains(&subject),
            Asks::Nobody => true,
            Asks::Anybody => false,
        };
        let proven =
            pod.only_serves(evidence) && !asked.is_empty() && asked.iter().all(|(_, asks)| verifies(asks));
        if !proven {
            told.kept(evidence);
        }
        if !loaded && !proven && !choices.applications_reload {
            told.unseen(
                "its process was there before the new root, and whether it has loaded it is not seen from outside"
                    .to_owned(),
            );
        }
        findings.extend(told.findings);
    }
    findings
}

/// Before `retire`: the managed Secrets.
pub fn secrets(state: &State, evidence: &Evidence) -> Vec<Finding> {
    let roots = new_roots(state);
    let mut findings = Vec::new();
    for secret in evidence.secrets.values() {
        let title = || secret.bundle.title.clone();
        findings.extend(lacks(&secret.bundle, &roots));
        match &secret.chain {
            Ok(chain) => {
                if let Some((leaf, old)) = chain.first().and_then(|leaf| Some((leaf, former(state, leaf)?))) {
                    findings.push(stale(title(), format!("it holds certificate {} of {old}", serial(leaf))));
                }
            }
            Err(why) => findings.push(stale(title(), format!("it holds no certificate: {why}"))),
        }
    }
    findings
}

/// Before `retire`: what running pods still have and show.
pub fn presenters(
    state: &State,
    evidence: &Evidence,
    choices: &Choices,
    now: OffsetDateTime,
) -> Vec<Finding> {
    // Nothing that somebody still holds in memory is valid any more.
    let ended = state.old_leaves_end().is_some_and(|end| now >= end);
    let mut findings = Vec::new();
    for pod in &evidence.pods {
        let mut told = Told::new(&pod.user, choices);
        let mut loaded = true;
        for (place, seen) in pod.places(Holds::Leaf) {
            match seen {
                Ok(chain) => match chain.first().and_then(|leaf| former(state, leaf)) {
                    Some(old) => {
                        told.stale(format!(
                            "{} holds a certificate of {old}: {}",
                            at(place),
                            slowness(place)
                        ));
                    }
                    None if place.source == Source::Pod => {
                        // One that was made after the switch has never had another one.
                        let since = state.rotation.as_ref().map(|rotation| rotation.since);
                        loaded &= since.is_some_and(|since| pod.user.made > since);
                    }
                    None => loaded &= place.frozen || fresh(evidence, &pod.user, &place.container),
                },
                Err(_) if ended => {}
                Err(why) => told.unseen(format!("{} was not seen: {why}", at(place))),
            }
        }
        for (port, shown) in pod.shown() {
            if let Some(old) = former(state, &shown.leaf) {
                told.stale(format!(
                    "it still serves certificate {} of {old} at port {port}: reload or restart it",
                    serial(&shown.leaf)
                ));
            }
        }
        if evidence.server_secrets(&pod.user).next().is_some() && pod.shown().next().is_none() && !ended {
            let tried: Vec<String> = pod
                .ports
                .iter()
                .map(|port| {
                    let why = port.shown.as_ref().err().map(String::as_str).unwrap_or_default();
                    format!("port {}: {why}", port.number)
                })
                .collect();
            let tried = if tried.is_empty() { "it names no port".to_owned() } else { tried.join("; ") };
            told.unseen(format!("what it serves was not seen: {tried}"));
        }
        let seen_whole = pod.only_serves(evidence) && pod.shown().next().is_some();
        if !ended && !seen_whole {
            told.kept(evidence);
        }
        // The certificate of a pod is for both ends.
        let own = pod.user.sources().contains(&Source::Pod);
        let client = own || evidence.secrets_of(&pod.user).any(|secret| secret.client);
        if client && !loaded && !ended && !choices.applications_reload {
            told.unseen(
                "its process was there before its new certificate, and which one it shows as a client is not seen \
                 from outside"
                    .to_owned(),
            );
        }
        findings.extend(told.findings);
    }
    findings
}

/// The findings about one pod.
struct Told<'a> {
    user: &'a User,
    accepted: bool,
    findings: Vec<Finding>,
}

impl<'a> Told<'a> {
    fn new(user: &'a User, choices: &Choices) -> Self {
        Self { user, accepted: choices.accept(user), findings: Vec::new() }
    }

    fn stale(&mut self, why: String) {
        self.findings.push(stale(format!("Pod {}", self.user.name), why));
    }

    /// What it kept from before the objects were written.
    fn kept(&mut self, evidence: &Evidence) {
        for kept in &self.user.kept {
            if fresh(evidence, self.user, &kept.container) {
                continue;
            }
            let how = if kept.in_environment { "has it in its environment" } else { "may have copied it" };
            self.unseen(format!("container {} {how}, from before", kept.container));
        }
    }

    fn unseen(&mut self, why: String) {
        if !self.accepted {
            let object = format!("Pod {}", self.user.name);
            self.findings.push(Finding { kind: Kind::Unseen, object, why });
        }
    }
}

impl Observed {
    fn places(&self, holds: Holds) -> impl Iterator<Item = (&Place, &super::look::Seen)> {
        let all = self.user.places.iter().zip(&self.seen);
        // What cannot be read may be either.
        all.filter(move |(place, _)| place.holds == holds || place.holds == Holds::Other)
    }

    /// Whether it has server Secrets and nothing else: then what it serves shows what it has loaded.
    fn only_serves(&self, evidence: &Evidence) -> bool {
        let sources = self.user.sources();
        sources.iter().all(|source| matches!(source, Source::Secret(_)))
            && evidence.secrets_of(&self.user).next().is_some()
            && evidence.secrets_of(&self.user).all(|secret| !secret.client)
    }

    fn shown(&self) -> impl Iterator<Item = (u16, &super::served::Shown)> {
        self.ports.iter().filter_map(|port| Some((port.number, port.shown.as_ref().ok()?)))
    }
}

/// Whether a container started when kubelet had what the objects hold now.
fn fresh(evidence: &Evidence, user: &User, container: &str) -> bool {
    let Some(written) = evidence.written(user, container) else { return false };
    user.made > written || user.started.get(container).is_some_and(|started| *started > written + KUBELET)
}

fn lacks(bundle: &Bundle, roots: &[Vec<u8>]) -> Option<Finding> {
    match &bundle.roots {
        Ok(held) if roots.iter().all(|root| held.contains(root)) => None,
        Ok(_) => Some(stale(
            bundle.title.clone(),
            "it lacks the new root: the controller has not come to it, or its Certificate says why not"
                .into(),
        )),
        Err(why) => Some(stale(bundle.title.clone(), why.clone())),
    }
}

/// Pods that ask for revocation refuse the certificates of an authority whose list they do not have.
fn listless(bundle: &Bundle, list: &str, authority: &str, now: OffsetDateTime) -> Option<Finding> {
    let why = if !bundle.lists.contains(list.trim()) {
        format!("it lacks the revocation list of {authority}, which pods there ask for")
    } else if bundle.written.is_none_or(|written| now < written + KUBELET) {
        format!(
            "kubelet may not have brought the revocation list of {authority} to the pods there (two minutes)"
        )
    } else {
        return None;
    };
    Some(stale(bundle.title.clone(), why))
}

fn stale(object: String, why: String) -> Finding {
    Finding { kind: Kind::Stale, object, why }
}

fn at(place: &Place) -> String {
    format!("{} in container {}", place.path, place.container)
}

fn slowness(place: &Place) -> &'static str {
    match place.frozen {
        true => {
            "it is mounted with subPath, which never changes; restart the pod, and mount the whole volume"
        }
        false => "kubelet has not brought it yet (a minute)",
    }
}

/// The former authority that signed this certificate.
fn former<'a>(state: &'a State, leaf: &[u8]) -> Option<&'a str> {
    let signer: &Member = state.issuer_of(leaf)?;
    (signer.standing == Standing::Former).then_some(signer.name.as_str())
}

fn serial(leaf: &[u8]) -> String {
    inspect::certificate(leaf).map(|seen| seen.serial.to_lowercase()).unwrap_or_default()
}

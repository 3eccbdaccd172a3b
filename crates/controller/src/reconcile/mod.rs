//! One Certificate: from its spec and what the API server knows to a good Secret, a status and an Event.
//!
//! ```text
//! wanted (the spec, parsed) + grant (names) -> plan (pure: keep, write, issue) -> sign -> content -> one write
//! ```
//!
//! There is no state between two runs but what is in the API server. The Secret is written once, certificate and
//! record together; whatever is killed before that write has handed out nothing, whatever is killed after it finds the
//! good Secret and only brings the status up to date.

mod content;
mod pair;
mod plan;
mod sign;
mod status;
mod wanted;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action as Next;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource as _};
use model::codes::Coded as _;
use time::OffsetDateTime;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::audit::{Action, Audit, Record};
use crate::authority::{AuthorityStore, State};
use crate::certificate::{Certificate, CertificateStatus, Keystores};
use crate::clock::Clock;
use crate::error::{Error, Result, chain};
use crate::grant::{Domains, names_granted};
use crate::lifetimes::Lifetimes;
use crate::metrics::Metrics;
use crate::names::{CONTROLLER, GROUP};
use crate::restart::{Held, Restarts};
use crate::world::KnownWorld;

use pair::Pair;
pub use plan::check_owner;
use plan::{Plan, Why};
pub(crate) use sign::common_name;
use wanted::{Stores, Wanted};

/// A Secret is looked at so often even when nothing happens: there is no right to watch it.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// What every reconciliation needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The two domains.
    pub domains: Domains,
    /// Between which lifetimes Certificates may choose.
    pub lifetimes: Lifetimes,
    /// What the API server knows, kept up to date by watches.
    pub world: KnownWorld,
    /// The Certificates that there are now.
    pub certificates: Store<Certificate>,
    /// The authority, kept up to date by a watch.
    pub authority: watch::Receiver<Arc<State>>,
    /// The authority's Secret.
    pub store: AuthorityStore,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The audit log.
    pub audit: Audit,
    /// Writes Events.
    pub recorder: Recorder,
    /// This clock, as compared with the API server's.
    pub clock: Clock,
    /// Is told what Secrets hold now, for workloads that have to be restarted for it.
    pub restarts: Restarts,
}

impl Context {
    /// The authority, once it says that a leaf of it may live so long.
    pub(crate) async fn authority_for(&self, lifetime: time::Duration) -> Result<Arc<State>> {
        let authority = Arc::clone(&self.authority.borrow());
        if lifetime <= authority.longest_leaf {
            return Ok(authority);
        }
        let raised = self
            .store
            .change(|state| Ok(State { longest_leaf: state.longest_leaf.max(lifetime), ..state.clone() }));
        Ok(Arc::new(raised.await?))
    }
}

/// Brings one Certificate's Secret and status up to date, and says when to look again.
///
/// # Errors
///
/// When not even the status could be written.
pub async fn reconcile(certificate: Arc<Certificate>, context: Arc<Context>) -> Result<Next> {
    let begun = Instant::now();
    let namespace = certificate.metadata.namespace.clone().unwrap_or_default();
    if certificate.metadata.deletion_timestamp.is_some() || !context.world.namespace_lives(&namespace) {
        // The Secret goes with its owner, or with the namespace.
        return Ok(Next::await_change());
    }
    let done = bring_up_to_date(&certificate, &context).await;
    context.metrics.observe(begun.elapsed());
    match done {
        Ok(done) => finish(&certificate, &context, done).await,
        Err(Error::NamespaceEnds(_)) => Ok(Next::await_change()),
        Err(error) => fail(&certificate, &context, error).await,
    }
}

/// A good Secret.
struct Done {
    pair: Pair,
    issuer: String,
    revision: i64,
    /// Set when a certificate was issued now.
    issued: Option<Why>,
    /// What the Secret holds, for those who have to be told.
    held: Option<Held>,
}

async fn bring_up_to_date(certificate: &Arc<Certificate>, context: &Context) -> Result<Done> {
    let namespace = certificate.metadata.namespace.as_deref().unwrap_or_default();
    let name = &certificate.spec.secret_name;
    let mut wanted = Wanted::of(&certificate.spec, &context.lifetimes)?;
    wanted.names = names_granted(namespace, &certificate.spec, &context.world, &context.domains)?;
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    if let Some(stores) = &certificate.spec.keystores {
        wanted.stores = Some(password(&secrets, namespace, stores).await?);
    }
    let full_name = format!("{namespace}/{name}");
    let found = secrets.get_opt(name).await.map_err(secret_error("read", &full_name))?;
    let authority = Arc::clone(&context.authority.borrow());

    let wanted = Arc::new(wanted);
    let job = Job {
        certificate: Arc::clone(certificate),
        found: found.map(Arc::new),
        wanted,
        authority,
        now: OffsetDateTime::now_utc(),
    };
    let planned = job.clone();
    match blocking(move || planned.plan()).await? {
        Plan::Keep(pair) => job.done(*pair, None),
        Plan::Write(pair, what) => {
            tracing::info!(certificate = %full_name, "writes the Secret again: {what}");
            let writing = job.clone();
            let (secret, pair) = blocking(move || writing.write(*pair)).await?;
            apply(&secrets, &secret, &full_name).await?;
            job.done(pair, None)
        }
        Plan::Issue(why) => {
            let before = job.clone();
            let issued = issue(certificate, context, &secrets, &full_name, job, why).await;
            if let Err(Error::IssuerEnds { .. } | Error::Clock { .. } | Error::ClockUnknown) = &issued {
                bring_bundle(&secrets, &full_name, before).await?;
            }
            issued
        }
    }
}

/// Writes a new trust bundle beside a certificate that has to stay as it is.
async fn bring_bundle(secrets: &Api<Secret>, full_name: &str, job: Job) -> Result<()> {
    let written = blocking(move || {
        let Some(found) = &job.found else { return Ok(None) };
        let pair = plan::stale_bundle(&job.certificate, found, &job.authority)?;
        pair.map(|pair| job.write(*pair)).transpose()
    });
    if let Some((secret, _)) = written.await? {
        tracing::info!(certificate = %full_name, "writes the new trust bundle; the certificate stays");
        apply(secrets, &secret, full_name).await?;
    }
    Ok(())
}

async fn issue(
    certificate: &Certificate,
    context: &Context,
    secrets: &Api<Secret>,
    full_name: &str,
    mut job: Job,
    why: Why,
) -> Result<Done> {
    context.clock.check()?;
    job.authority = context.authority_for(job.wanted.lifetime).await?;
    let signing = job.clone();
    let (secret, pair) = blocking(move || signing.sign()).await?;

    let namespace = certificate.metadata.namespace.as_deref().unwrap_or_default();
    let name = certificate.metadata.name.as_deref().unwrap_or_default();
    let (serial, not_after) = (pair.serial.to_string().to_lowercase(), certs::rfc3339(pair.not_after));
    let names = job.wanted.names_text();
    let action = if why.again { Action::Renew } else { Action::Issue };
    let mut record = Record::new(action, "Certificate", namespace, name, &why.text);
    record.serial = &serial;
    record.names = &names;
    record.not_after = &not_after;
    let issuer = job.authority.active()?.0.name.clone();
    record.issuer = &issuer;
    context.audit.write(&record).map_err(|error| Error::Answer {
        action: "write the audit log".to_owned(),
        reason: error.to_string(),
        status: 0,
    })?;
    if let Err(error) = apply(secrets, &secret, full_name).await {
        // An answer that was lost may hide a write that was done: the next run finds it and keeps it.
        let reason = chain(&error);
        record.action = Action::Discard;
        record.reason = &reason;
        if !matches!(error, Error::Unreachable { .. }) {
            let _ = context.audit.write(&record);
        }
        return Err(error);
    }
    context.metrics.count_issued(why.label);
    job.done(pair, Some(why))
}

/// Server-side apply. What replaces a Secret names the resourceVersion that it replaces, and is refused when somebody
/// wrote in between. A new one is applied without force: if somebody made one in between, theirs stays.
async fn apply(secrets: &Api<Secret>, secret: &Secret, full_name: &str) -> Result<()> {
    let params = PatchParams::apply(CONTROLLER);
    let params = if secret.metadata.resource_version.is_some() { params.force() } else { params };
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    secrets
        .patch(name, &params, &Patch::Apply(secret))
        .await
        .map(|_| ())
        .map_err(secret_error("write", full_name))
}

/// What has to be computed away from the threads that wait for the network.
#[derive(Clone)]
struct Job {
    certificate: Arc<Certificate>,
    found: Option<Arc<Secret>>,
    wanted: Arc<Wanted>,
    authority: Arc<State>,
    now: OffsetDateTime,
}

impl Job {
    fn plan(&self) -> Result<Plan> {
        plan::plan(&self.certificate, self.found.as_deref(), &self.wanted, &self.authority, self.now)
    }

    fn write(&self, pair: Pair) -> Result<(Secret, Pair)> {
        let secret = self.content(&pair, self.revision())?;
        Ok((secret, pair))
    }

    fn sign(&self) -> Result<(Secret, Pair)> {
        let pair = sign::sign(&self.wanted, &self.authority, self.now)?;
        let secret = self.content(&pair, self.next_revision())?;
        Ok((secret, pair))
    }

    fn content(&self, pair: &Pair, revision: i64) -> Result<Secret> {
        let at = self.found.as_ref().and_then(|found| found.metadata.resource_version.clone());
        content::secret(&self.certificate, &self.wanted, &self.authority, pair, revision, at)
    }

    fn revision(&self) -> i64 {
        self.found.as_ref().map_or(1, |found| content::revision(found))
    }

    /// A Secret that was deleted does not begin to count again, as far as the status remembers.
    fn next_revision(&self) -> i64 {
        let seen = self.certificate.status.as_ref().map_or(0, |status| status.revision);
        let found = self.found.as_ref().map_or(0, |found| content::revision(found));
        seen.max(found).saturating_add(1)
    }

    fn done(&self, pair: Pair, issued: Option<Why>) -> Result<Done> {
        let leaf = pair.chain.first().map(Vec::as_slice).unwrap_or_default();
        let issuer = self.authority.issuer_of(leaf).map(|issuer| issuer.name.clone()).unwrap_or_default();
        let revision = if issued.is_some() { self.next_revision() } else { self.revision() };
        let held = match self.certificate.spec.restart.is_empty() {
            true => None,
            false => {
                let public = content::chain_pem(&pair, &self.authority)? + &self.authority.trust_bundle_pem();
                Some(Held::new(public.as_bytes(), revision, pair.not_before + certs::issue::SKEW))
            }
        };
        Ok(Done { pair, issuer, revision, issued, held })
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            Err(Error::Unreachable { action: "finish a computation".to_owned(), reason: error.to_string() })
        }
    }
}

async fn password(secrets: &Api<Secret>, namespace: &str, stores: &Keystores) -> Result<Stores> {
    let name = format!("{namespace}/{}", stores.password_secret);
    let found = secrets.get_opt(&stores.password_secret).await.map_err(secret_error("read", &name))?;
    let found = found.ok_or_else(|| Error::Password(format!("there is no Secret {name}")))?;
    let value = found.data.and_then(|mut data| data.remove("password"));
    let value = value.ok_or_else(|| Error::Password(format!("the Secret {name} has no key \"password\"")))?;
    let password = String::from_utf8(value.0).map(Zeroizing::new);
    let password =
        password.map_err(|_| Error::Password(format!("the password in the Secret {name} is no text")))?;
    if password.trim().is_empty() {
        return Err(Error::Password(format!("the password in the Secret {name} is empty")));
    }
    Ok(Stores { pkcs12: stores.pkcs12, jks: stores.jks, password })
}

fn secret_error(verb: &'static str, name: &str) -> impl FnOnce(kube::Error) -> Error {
    let name = name.to_owned();
    move |error| match Error::api(format!("{verb} the Secret {name}"))(error) {
        Error::Forbidden { reason, .. } => Error::SecretForbidden { verb, name, reason },
        other => other,
    }
}

async fn finish(certificate: &Arc<Certificate>, context: &Context, done: Done) -> Result<Next> {
    let now = OffsetDateTime::now_utc();
    let status = status::ready(certificate, &done.pair, &done.issuer, done.revision, now);
    if let Some(why) = &done.issued {
        let (reason, verb) = if why.again { ("Renewed", "renewed") } else { ("Issued", "issued") };
        let note = format!(
            "{verb} certificate {} of {} until {}: {}",
            done.pair.serial,
            done.issuer,
            certs::rfc3339(done.pair.not_after),
            why.text
        );
        tracing::info!(certificate = %full_name(certificate), "{note}");
        event(certificate, context, EventType::Normal, reason, note).await;
    }
    let dates = Some((done.pair.not_after, done.pair.renew_at()));
    set_metrics(&context.metrics, &context.certificates, certificate, true, dates);
    if let Some(held) = done.held {
        context.restarts.tell(certificate, held);
    }
    write_status(certificate, context, status).await?;
    let left = done.pair.renew_at() - now;
    let left = Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1);
    Ok(Next::requeue(left.min(jittered(LOOK_AGAIN))))
}

async fn fail(certificate: &Arc<Certificate>, context: &Context, error: Error) -> Result<Next> {
    let status = status::failed(certificate, &error, OffsetDateTime::now_utc());
    let wait = jittered(status::wait(status.failures.unwrap_or_default()));
    context.metrics.count_failure(error.code().label);
    // Somebody else wrote at the same time: that is no fault, and the next look decides anew.
    if matches!(error, Error::Conflict { .. }) && status.failures.is_some_and(|failures| failures <= 3) {
        tracing::debug!(certificate = %full_name(certificate), "{}", chain(&error));
        return Ok(Next::requeue(jittered(Duration::from_secs(1))));
    }
    // What is applied together comes to us by several watches, in any order.
    if matches!(error, Error::Name(_)) && is_young(certificate) {
        return Ok(Next::requeue(Duration::from_secs(1)));
    }
    let message = status::message(&error);
    tracing::warn!(certificate = %full_name(certificate), code = error.code().id, "{}", chain(&error));
    let (namespace, name) = parts(certificate);
    let ready = status.conditions.first().is_some_and(|condition| condition.status == "True");
    set_metrics(&context.metrics, &context.certificates, certificate, ready, None);
    if !ready && status::is_news(certificate, &status) {
        let reason = status::reason(&error);
        if reason == "Refused" {
            // A refusal that cannot be written down is a refusal all the same.
            let _ = context.audit.write(&Record::new(Action::Deny, "Certificate", namespace, name, &message));
        }
        event(certificate, context, EventType::Warning, reason, message).await;
    }
    write_status(certificate, context, status).await?;
    Ok(Next::requeue(wait))
}

/// Says how a Certificate is, unless it is gone: a look at it may end after its deletion was told of.
fn set_metrics(
    metrics: &Metrics,
    certificates: &Store<Certificate>,
    of: &Certificate,
    ready: bool,
    dates: Option<(OffsetDateTime, OffsetDateTime)>,
) {
    let (namespace, name) = parts(of);
    let found = || certificates.get(&ObjectRef::from_obj(of));
    // Made anew under the same name, it is somebody else's turn.
    if found().is_none_or(|found| found.metadata.uid != of.metadata.uid) {
        return;
    }
    metrics.set_certificate(namespace, name, ready, dates);
    // Deleted in this very moment: whoever is told of it may have been quicker.
    if found().is_none() {
        metrics.forget_certificate(namespace, name);
    }
}

async fn write_status(certificate: &Certificate, context: &Context, status: CertificateStatus) -> Result<()> {
    if certificate.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let (namespace, name) = parts(certificate);
    let api: Api<Certificate> = Api::namespaced(context.client.clone(), namespace);
    let patch = serde_json::json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "Certificate",
        "metadata": { "name": name, "uid": certificate.metadata.uid },
        "status": status,
    });
    let params = PatchParams::apply(CONTROLLER).force();
    match api.patch_status(name, &params, &Patch::Apply(patch)).await {
        Ok(_) => Ok(()),
        // It was deleted in the meantime, or made anew under the same name.
        Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => Ok(()),
        Err(error) => Err(Error::api(format!("write the status of {}", full_name(certificate)))(error)),
    }
}

async fn event(certificate: &Certificate, context: &Context, type_: EventType, reason: &str, note: String) {
    let event = Event {
        type_,
        reason: reason.to_owned(),
        // The API server takes 1024 bytes.
        note: Some(note.chars().take(900).collect()),
        action: "Issue".to_owned(),
        secondary: None,
    };
    // An Event is a courtesy: conditions, metrics and the audit log say the same.
    if let Err(error) = context.recorder.publish(&event, &certificate.object_ref(&())).await {
        tracing::debug!(certificate = %full_name(certificate), "no Event was written: {}", chain(&error));
    }
}

/// Whether it was made a moment ago and nothing was said of it yet.
fn is_young(certificate: &Certificate) -> bool {
    let made = certificate.metadata.creation_timestamp.as_ref().map_or(0, |made| made.0.as_second());
    certificate.status.is_none() && (OffsetDateTime::now_utc().unix_timestamp() - made).abs() < 3
}

/// The same, give or take a tenth: what happened together does not come back together.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(0.9 + 0.2 * f64::from(rand::random::<u16>()) / f64::from(u16::MAX))
}

fn parts(certificate: &Certificate) -> (&str, &str) {
    let metadata = &certificate.metadata;
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn full_name(certificate: &Certificate) -> String {
    let (namespace, name) = parts(certificate);
    format!("{namespace}/{name}")
}

//! A workload's credential, kept: renewed at about half of its life, made anew when other roots are trusted or another
//! authority issues. The same for a pod's proxy and for one that carries many pods: who issues, what the time is, which
//! roots there are and who issues now are given.
//!
//! What the control plane says replaces the roots that came with the certificate and those of the pod's volume: it is heard
//! at once, and by everybody. Until it has said something, those two count together. A yes is said ([`Adopter`]) only when
//! new handshakes trust exactly what was told, and the certificate is of who issues now.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::codes::mesh as codes;
use model::identity::SpiffeId;
use model::mesh::Trust;
use proxy::mesh::Credential;
use time::OffsetDateTime;
use tokio::sync::watch;
use wire::client::Adopter;
use zeroize::Zeroizing;

/// The first wait after a failure, and the longest.
const FIRST: Duration = Duration::from_millis(500);
/// See [`FIRST`].
const LONGEST: Duration = Duration::from_secs(30);
/// Never in one long sleep: a clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(60);
/// How many certificates a mesh asks for in a second when another authority issues.
const A_SECOND: f64 = 25.0;
/// The shortest and the longest time over which they are spread, seconds.
const SPREAD: (f64, f64) = (1.0, 60.0);

/// Gives certificates.
pub trait Source: Send + Sync + 'static {
    /// Asks once.
    fn ask(&self) -> BoxFuture<'static, Result<Issued, String>>;

    /// The time by which certificates end.
    fn now(&self) -> OffsetDateTime;

    /// How many workloads there are that ask at the same time as this one.
    fn workloads(&self) -> usize;

    /// A certificate is in force that ends then, seconds since 1970.
    fn in_force(&self, not_after: i64);

    /// This certificate is used from now on, with these roots (PEM): for an application that wants it too.
    fn used(&self, issued: &Issued, roots: &[u8]) {
        let _ = (issued, roots);
    }
}

/// A certificate with its key, and the roots that came with it.
#[derive(Clone)]
pub struct Issued {
    /// Leaf first, PEM.
    pub chain: String,
    /// PKCS #8, PEM.
    pub key: Zeroizing<String>,
    /// PEM.
    pub roots: String,
    /// SHA-256 of the certificate that signed the leaf.
    pub issuer: String,
    /// When another one is due.
    pub renew_at: OffsetDateTime,
}

/// What a credential is kept by.
pub struct Keeping<S> {
    /// Who gives certificates.
    pub source: S,
    /// The identity that it has to be for.
    pub identity: SpiffeId,
    /// The roots of the volume, PEM.
    pub roots: watch::Receiver<Arc<Vec<u8>>>,
    /// Whom to trust and who issues, as the control plane says.
    pub trust: watch::Receiver<Option<Arc<Trust>>>,
    /// Told what was taken up.
    pub adopter: Adopter,
}

/// Waits for the first certificate, and keeps it from then on in a task of its own, until nobody looks.
pub async fn keep<S: Source>(keeping: Keeping<S>) -> watch::Receiver<Arc<Credential>> {
    let mut wait = FIRST;
    let (issued, roots, credential) = loop {
        let asked = keeping.source.ask().await;
        let roots = keeping.trusted(asked.as_ref().ok());
        let made =
            asked.and_then(|issued| keeping.credential(&issued, &roots).map(|made| (issued, roots, made)));
        match made {
            Ok(made) => break made,
            Err(why) => failed(&why, None),
        }
        tokio::time::sleep(jittered(wait)).await;
        wait = (wait * 2).min(LONGEST);
    };
    keeping.got(&credential);
    let (sender, receiver) = watch::channel(credential);
    let due = issued.renew_at;
    let keeper = Keeper { keeping, issued, roots, sender, due, replacing: None, wait: FIRST };
    tokio::spawn(keeper.run());
    receiver
}

impl<S: Source> Keeping<S> {
    /// The roots that peers are judged by now, PEM.
    fn trusted(&self, issued: Option<&Issued>) -> Vec<u8> {
        if let Some(told) = &*self.trust.borrow() {
            return told.roots.clone().into_bytes();
        }
        let mut roots = self.roots.borrow().to_vec();
        roots.push(b'\n');
        roots.extend(issued.map_or(&[][..], |issued| issued.roots.as_bytes()));
        roots
    }

    fn credential(&self, issued: &Issued, roots: &[u8]) -> Result<Arc<Credential>, String> {
        let credential = Credential::new(issued.chain.as_bytes(), issued.key.as_bytes(), roots)
            .map_err(|error| error.to_string())?;
        if credential.identity != self.identity {
            return Err(format!("it is for {}, not for {}", credential.identity, self.identity));
        }
        self.source.used(issued, roots);
        Ok(Arc::new(credential))
    }

    fn got(&self, credential: &Credential) {
        self.source.in_force(credential.not_after);
        tracing::info!(
            identity = %credential.identity,
            not_after = %instant(credential.not_after),
            "the workload has its certificate"
        );
    }
}

struct Keeper<S> {
    keeping: Keeping<S>,
    issued: Issued,
    /// What the credential in force trusts.
    roots: Vec<u8>,
    sender: watch::Sender<Arc<Credential>>,
    /// When a certificate is asked for.
    due: OffsetDateTime,
    /// Who issues now, where the certificate is of somebody else and another one is on its way.
    replacing: Option<String>,
    /// After the next failure.
    wait: Duration,
}

impl<S: Source> Keeper<S> {
    async fn run(mut self) {
        let mut asking: Option<BoxFuture<'static, Result<Issued, String>>> = None;
        loop {
            self.take_up();
            let now = self.keeping.source.now();
            if asking.is_none() && now >= self.due {
                asking = Some(self.keeping.source.ask());
            }
            let wait =
                Duration::try_from(self.due - now).unwrap_or_default().clamp(Duration::from_millis(1), LOOK);
            tokio::select! {
                asked = async {
                    match &mut asking {
                        Some(asking) => asking.await,
                        None => std::future::pending().await,
                    }
                } => {
                    asking = None;
                    self.answered(asked);
                }
                () = tokio::time::sleep(wait), if asking.is_none() => {}
                () = changed(&mut self.keeping.trust) => {}
                () = changed(&mut self.keeping.roots) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    /// Brings what is told into force, as far as it can be without asking anybody.
    fn take_up(&mut self) {
        let _ = self.keeping.roots.borrow_and_update();
        let told = self.keeping.trust.borrow_and_update().clone();
        let roots = self.keeping.trusted(Some(&self.issued));
        if roots != self.roots {
            match self.keeping.credential(&self.issued, &roots) {
                Ok(credential) => {
                    tracing::info!(
                        step = told.as_ref().map(|told| told.step),
                        "the trusted roots are others now"
                    );
                    self.sender.send_replace(credential);
                    self.roots = roots;
                }
                Err(why) => {
                    tracing::warn!("the new roots cannot be used: {why}; the last good ones stay in force");
                    return self.keeping.adopter.not_yet(&format!("the roots cannot be used: {why}"));
                }
            }
        }
        let Some(told) = told else { return };
        if told.issuer_fingerprint == self.issued.issuer {
            self.replacing = None;
            return self.keeping.adopter.in_force(&told);
        }
        if self.replacing.as_ref() != Some(&told.issuer_fingerprint) {
            let spread = spread(self.keeping.source.workloads()).mul_f64(rand::random());
            tracing::info!(
                issuer = told.issuer,
                "another authority issues now: a certificate of it is asked for within {spread:.1?}"
            );
            self.replacing = Some(told.issuer_fingerprint.clone());
            self.wait = FIRST;
            self.due = self.due.min(self.keeping.source.now() + spread);
        }
    }

    fn answered(&mut self, asked: Result<Issued, String>) {
        let roots = self.keeping.trusted(asked.as_ref().ok());
        let made =
            asked.and_then(|issued| self.keeping.credential(&issued, &roots).map(|made| (issued, made)));
        match made {
            Ok((issued, credential)) => {
                self.keeping.got(&credential);
                self.sender.send_replace(credential);
                self.due = issued.renew_at;
                (self.issued, self.roots) = (issued, roots);
                if self.replacing.as_ref().is_some_and(|wanted| *wanted != self.issued.issuer) {
                    // One of several control planes may not have heard of the switch yet.
                    self.again("the certificate that was issued is of the former authority");
                } else {
                    self.wait = FIRST;
                }
            }
            Err(why) => {
                failed(&why, Some(self.sender.borrow().not_after));
                self.again(&why);
            }
        }
    }

    fn again(&mut self, why: &str) {
        self.due = self.keeping.source.now() + jittered(self.wait);
        self.wait = (self.wait * 2).min(LONGEST);
        if self.replacing.is_some() {
            self.keeping.adopter.not_yet(&format!("no certificate of the authority that issues now: {why}"));
        }
    }
}

/// Where nobody tells any more, what was told stays in force.
async fn changed<T>(told: &mut watch::Receiver<T>) {
    if told.changed().await.is_err() {
        std::future::pending().await
    }
}

fn failed(why: &str, not_after: Option<i64>) {
    let code = &codes::NO_CERTIFICATE;
    let ends = not_after.map_or_else(|| "none yet".to_owned(), instant);
    tracing::warn!(
        code = code.id,
        not_after = ends,
        "there is no certificate from the control plane: {why}; it is asked again"
    );
}

fn instant(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at).map(certs::rfc3339).unwrap_or_default()
}

/// Some time between the half and the whole, so that not all ask at one moment.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.5..1.0))
}

/// Over what time so many workloads ask for certificates of another authority.
fn spread(workloads: usize) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a number of workloads")]
    let seconds = workloads as f64 / A_SECOND;
    Duration::from_secs_f64(seconds.clamp(SPREAD.0, SPREAD.1))
}

//! The pod's certificate: asked for with the pod's token, renewed at about half of its life, never written anywhere. And
//! the roots that others are judged by: those in the pod's volume, which kubelet keeps up to date, and those that came
//! with the certificate. A rotated root takes effect for new connections as soon as one of the two has it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::{AltName, Csr, KeyKind, PrivateKey};
use controller::mesh::issue::LIFETIME;
use model::codes::{Coded as _, mesh as codes};
use model::identity::SpiffeId;
use proxy::mesh::{Credential, Metrics};
use rustls::ClientConfig;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::client::{Ask, Target, Token, create_certificate};
use zeroize::Zeroizing;

use crate::commands::mesh::tls;

/// Kubelet replaces a projected file by a rename: looking is cheap.
const LOOK: Duration = Duration::from_secs(2);
/// The first wait after a failure, and the longest.
const FIRST: Duration = Duration::from_millis(500);
/// See [`FIRST`].
const LONGEST: Duration = Duration::from_secs(30);

/// Reads the token anew each time: kubelet renews it.
pub fn token(path: PathBuf) -> Token {
    Arc::new(move || {
        let read = std::fs::read_to_string(&path);
        read.map(|token| Some(token.trim().to_owned()))
            .map_err(|error| format!("{}: {error}", path.display()))
    })
}

/// The roots in a file, now and later; waits until there are some.
pub async fn roots(path: PathBuf) -> (watch::Receiver<Arc<Vec<u8>>>, impl Future<Output = ()> + Send) {
    let first = loop {
        match std::fs::read(&path) {
            Ok(found) if tls::client(&found).is_ok() => break found,
            Ok(_) => tracing::warn!("{} holds no roots yet", path.display()),
            Err(error) => tracing::warn!("{}: {error}", path.display()),
        }
        tokio::time::sleep(LOOK).await;
    };
    let (sender, receiver) = watch::channel(Arc::new(first));
    let keep = async move {
        loop {
            tokio::time::sleep(LOOK).await;
            // Removed or damaged: the last good ones stay in force.
            let Ok(found) = std::fs::read(&path) else { continue };
            if **sender.borrow() == found {
                continue;
            }
            match tls::client(&found) {
                Ok(_) => {
                    tracing::info!("the trusted roots are others now");
                    sender.send_replace(Arc::new(found));
                }
                Err(why) => tracing::warn!("{}: {why}; the last good ones stay in force", path.display()),
            }
        }
    };
    (receiver, keep)
}

/// By whom the control plane has to be certified.
///
/// # Errors
///
/// When the roots cannot be used.
pub fn tls(
    mut roots: watch::Receiver<Arc<Vec<u8>>>,
    tasks: &mut JoinSet<()>,
) -> Result<watch::Receiver<Arc<ClientConfig>>, String> {
    let first = tls::client(&roots.borrow_and_update())?;
    let (sender, receiver) = watch::channel(first);
    tasks.spawn(async move {
        while roots.changed().await.is_ok() {
            if let Ok(next) = tls::client(&roots.borrow_and_update()) {
                sender.send_replace(next);
            }
        }
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}

/// Whoever asks for the pod's certificate.
#[derive(Clone)]
pub struct Asking {
    /// The control plane.
    pub target: Target,
    /// The pod's token.
    pub token: Token,
    /// The roots of the pod's volume.
    pub roots: watch::Receiver<Arc<Vec<u8>>>,
    /// The identity that the pod has to get.
    pub identity: SpiffeId,
    /// Whether the token is the node's, which asks in the name of one of its pods.
    pub for_another: bool,
    /// The cluster.
    pub cluster: String,
    /// Told when the certificate ends.
    pub metrics: Arc<Metrics>,
}

/// A certificate with its key, and the roots that came with it.
struct Issued {
    chain: String,
    key: Zeroizing<String>,
    roots: String,
    renew_at: OffsetDateTime,
}

/// Waits for the first certificate, and keeps it from then on in a task of its own.
pub async fn keep(asking: Asking) -> watch::Receiver<Arc<Credential>> {
    let (mut issued, credential) = asking.insist().await;
    let (sender, receiver) = watch::channel(credential);
    tokio::spawn(async move {
        let mut asking = asking;
        loop {
            let wait = Duration::try_from(issued.renew_at - OffsetDateTime::now_utc()).unwrap_or_default();
            tokio::select! {
                // Never in one long sleep: a clock may be set meanwhile.
                () = tokio::time::sleep(wait.min(Duration::from_secs(60))) => {
                    if OffsetDateTime::now_utc() >= issued.renew_at {
                        let (next, credential) = asking.insist().await;
                        issued = next;
                        sender.send_replace(credential);
                    }
                }
                changed = asking.roots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let _ = asking.roots.borrow_and_update();
                    match asking.credential(&issued) {
                        Ok(credential) => drop(sender.send_replace(credential)),
                        Err(why) => tracing::warn!("the new roots cannot be used: {why}"),
                    }
                }
                () = sender.closed() => return,
            }
        }
    });
    receiver
}

impl Asking {
    /// Asks until it gets one.
    async fn insist(&self) -> (Issued, Arc<Credential>) {
        let mut wait = FIRST;
        loop {
            let asked = match self.ask().await {
                Ok(issued) => self.credential(&issued).map(|credential| (issued, credential)),
                Err(why) => Err(why),
            };
            match asked {
                Ok((issued, credential)) => {
                    self.metrics.set_expiration(credential.not_after);
                    tracing::info!(
                        identity = %credential.identity,
                        not_after = %OffsetDateTime::from_unix_timestamp(credential.not_after)
                            .map(certs::rfc3339).unwrap_or_default(),
                        "the pod has its certificate"
                    );
                    return (issued, credential);
                }
                Err(why) => {
                    let code = &codes::NO_CERTIFICATE;
                    tracing::warn!(
                        code = code.id,
                        "there is no certificate from the control plane: {why}; it is asked again"
                    );
                }
            }
            // Some time between the half and the whole, so that not all ask at one moment.
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(LONGEST);
        }
    }

    async fn ask(&self) -> Result<Issued, String> {
        let key = PrivateKey::generate(KeyKind::P256).map_err(|error| error.to_string())?;
        let csr = Csr::request(&key, &[AltName::from(&self.identity)]).map_err(|error| error.to_string())?;
        let token = (self.token)()?;
        let impersonated = self.for_another.then(|| self.identity.to_string());
        let validity = Duration::try_from(LIFETIME).unwrap_or_default();
        let ask = Ask { csr, validity, impersonated, cluster: Some(self.cluster.clone()) };
        let now = OffsetDateTime::now_utc();
        let chain = create_certificate(&self.target, token.as_deref(), &ask)
            .await
            .map_err(|error| format!("{}: {error}", error.code().id))?;
        let (roots, chain) = chain.split_last().ok_or("the answer is empty")?;
        // Where the control plane issues for less, half of that.
        let life = Credential::new(chain.concat().as_bytes(), key.to_pem().as_bytes(), roots.as_bytes())
            .map_err(|error| error.to_string())?
            .not_after
            - now.unix_timestamp();
        let jitter = rand::random_range(0.45..0.55);
        #[expect(clippy::cast_precision_loss, reason = "seconds of a certificate's life")]
        let half = time::Duration::seconds_f64(life.max(0) as f64 * jitter);
        Ok(Issued { chain: chain.concat(), key: key.to_pem(), roots: roots.clone(), renew_at: now + half })
    }

    fn credential(&self, issued: &Issued) -> Result<Arc<Credential>, String> {
        let mut roots = self.roots.borrow().to_vec();
        roots.push(b'\n');
        roots.extend(issued.roots.as_bytes());
        let credential = Credential::new(issued.chain.as_bytes(), issued.key.as_bytes(), &roots)
            .map_err(|error| error.to_string())?;
        if credential.identity != self.identity {
            return Err(format!("it is for {}, not for {}", credential.identity, self.identity));
        }
        Ok(Arc::new(credential))
    }
}

//! What a pod's proxy proves itself with, and by what it knows the control plane: its token and the roots in its volume,
//! which kubelet keeps up to date, and certificates that the control plane issues, never written anywhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::{AltName, Csr, KeyKind, PrivateKey};
use controller::mesh::issue::LIFETIME;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::codes::Coded as _;
use model::identity::SpiffeId;
use model::mesh::{Trust, World};
use proxy::mesh::{Credential, Metrics};
use rustls::ClientConfig;
use time::OffsetDateTime;
use tokio::sync::watch;
use wire::client::{Ask, Target, Token, create_certificate};
use wire::workload_api::Svid;
use zeroize::Zeroizing;

use super::keep::{Issued, Source};
use crate::commands::mesh::tls;

/// Kubelet replaces a projected file by a rename: looking is cheap.
const LOOK: Duration = Duration::from_secs(2);
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
                    tracing::info!("the roots in the volume are others now");
                    sender.send_replace(Arc::new(found));
                }
                Err(why) => tracing::warn!("{}: {why}; the last good ones stay in force", path.display()),
            }
        }
    };
    (receiver, keep)
}

/// By whom the control plane has to be certified: who chains to a root of the volume, or to one that it told of itself.
/// Right after a switch it shows a certificate of a root that kubelet may not have brought yet; and after a long absence
/// kubelet has brought what nobody could tell.
pub async fn follow(
    mut roots: watch::Receiver<Arc<Vec<u8>>>,
    mut trust: watch::Receiver<Option<Arc<Trust>>>,
    sender: watch::Sender<Arc<ClientConfig>>,
) {
    loop {
        let mut all = roots.borrow_and_update().to_vec();
        if let Some(told) = &*trust.borrow_and_update() {
            all.push(b'\n');
            all.extend(told.roots.as_bytes());
        }
        match tls::client(&all) {
            Ok(next) => drop(sender.send_replace(next)),
            Err(why) => tracing::warn!("the roots cannot be used to reach the control plane: {why}"),
        }
        let gone = tokio::select! {
            changed = roots.changed() => changed.is_err(),
            changed = trust.changed() => changed.is_err(),
        };
        if gone {
            return std::future::pending().await;
        }
    }
}

/// The control plane, as a source of certificates for one identity.
#[derive(Clone)]
pub struct ControlPlane {
    /// Where it is.
    pub target: Target,
    /// What proves who asks.
    pub token: Token,
    /// The identity that is asked for.
    pub identity: SpiffeId,
    /// The identity is that of a pod which the asker carries.
    pub impersonated: bool,
    /// The cluster.
    pub cluster: String,
    /// How large the mesh is.
    pub world: watch::Receiver<Arc<World>>,
    /// Told when the certificate ends.
    pub metrics: Arc<Metrics>,
    /// Told of each certificate, where an application wants it too.
    pub svid: Option<watch::Sender<Option<Arc<Svid>>>>,
}

impl Source for ControlPlane {
    fn ask(&self) -> BoxFuture<'static, Result<Issued, String>> {
        let own = self.clone();
        async move { own.create().await }.boxed()
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn workloads(&self) -> usize {
        self.world.borrow().workloads().count()
    }

    fn in_force(&self, not_after: i64) {
        self.metrics.set_expiration(not_after);
    }

    fn used(&self, issued: &Issued, roots: &[u8]) {
        let Some(svid) = &self.svid else { return };
        match self.as_svid(issued, roots) {
            Ok(next) => drop(svid.send_replace(Some(Arc::new(next)))),
            Err(why) => tracing::warn!("the application cannot be given the certificate: {why}"),
        }
    }
}

impl ControlPlane {
    fn as_svid(&self, issued: &Issued, roots: &[u8]) -> Result<Svid, String> {
        let concatenated = |pem: &str| -> Result<Vec<u8>, String> {
            Ok(certs::certificates_of_pem(pem).map_err(|error| error.to_string())?.concat())
        };
        let key = PrivateKey::from_pem(&issued.key, None).map_err(|error| error.to_string())?;
        Ok(Svid {
            id: self.identity.to_string(),
            trust_domain: format!("spiffe://{}", self.identity.trust_domain()),
            chain: concatenated(&issued.chain)?,
            key: Zeroizing::new(key.pkcs8_der().to_vec()),
            bundle: concatenated(&String::from_utf8_lossy(roots))?,
        })
    }

    async fn create(&self) -> Result<Issued, String> {
        let key = PrivateKey::generate(KeyKind::P256).map_err(|error| error.to_string())?;
        let csr = Csr::request(&key, &[AltName::from(&self.identity)]).map_err(|error| error.to_string())?;
        let token = (self.token)()?;
        let validity = Duration::try_from(LIFETIME).unwrap_or_default();
        let impersonated = self.impersonated.then(|| self.identity.to_string());
        let ask = Ask { csr, validity, impersonated, cluster: Some(self.cluster.clone()) };
        let now = OffsetDateTime::now_utc();
        let chain = create_certificate(&self.target, token.as_deref(), &ask)
            .await
            .map_err(|error| format!("{}: {error}", error.code().id))?;
        let (roots, chain) = chain.split_last().ok_or("the answer is empty")?;
        issued(&chain.concat(), key.to_pem(), roots, now)
    }
}

/// What was issued, from its PEM.
///
/// # Errors
///
/// When it cannot be read, or nobody stands above the leaf.
pub fn issued(
    chain: &str,
    key: Zeroizing<String>,
    roots: &str,
    now: OffsetDateTime,
) -> Result<Issued, String> {
    let all = certs::certificates_of_pem(chain).map_err(|error| error.to_string())?;
    // A control plane of another make may issue right below its root.
    let of_root = || certs::certificates_of_pem(roots).ok().and_then(|roots| roots.into_iter().next());
    let issuer = all.get(1).cloned().or_else(of_root).ok_or("nobody stands above the certificate")?;
    // Where the control plane issues for less, half of that.
    let life = Credential::new(chain.as_bytes(), key.as_bytes(), roots.as_bytes())
        .map_err(|error| error.to_string())?
        .not_after
        - now.unix_timestamp();
    let jitter = rand::random_range(0.45..0.55);
    #[expect(clippy::cast_precision_loss, reason = "seconds of a certificate's life")]
    let half = time::Duration::seconds_f64(life.max(0) as f64 * jitter);
    Ok(Issued {
        chain: chain.to_owned(),
        key,
        roots: roots.to_owned(),
        issuer: certs::inspect::fingerprint(&issuer),
        renew_at: now + half,
    })
}

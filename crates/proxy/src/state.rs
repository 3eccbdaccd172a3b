//! A snapshot made ready: every file loaded, every name resolved, every policy compiled. A [`State`] is
//! assembled whole, or not at all, and then swapped in; what did not change is carried over by content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::codes::{Coded as _, serving};
use model::policy::{ClientMode, ClientPolicy};
use model::snapshot::{AccessLog, CertificateFiles, Limits, Listener, Snapshot, Timeouts};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::Semaphore;

use crate::access_log::{Logs, Sink};
use crate::authorize::now;
use crate::connection::PolicyKey;
use crate::drain::DrainTrigger;
use crate::error::Error;
use crate::http::Site;
use crate::material::{Authorities, Lists, Material};
use crate::metrics::{ListenerMetrics, Metrics};
use crate::policy::{CompiledPolicy, Parts, sha256};
use crate::source::Source;
use crate::tcp::Streams;
use crate::tls::certificates::{self, Certificate};
use crate::tls::terminator::Terminator;
use crate::tls::tickets::Ticketers;
use crate::upstream::ServiceState;

/// Everything that traffic needs, of one snapshot and the files of one moment.
pub struct State {
    /// What it was made from.
    pub snapshot: Arc<Snapshot>,
    /// The listeners, in the snapshot's order.
    pub listeners: Vec<Arc<ListenerState>>,
    /// The services by name.
    pub services: Arc<BTreeMap<String, Arc<ServiceState>>>,
    pub(crate) material: Material,
    /// Files whose newest content was refused, and why; an older good content is in force.
    pub(crate) refused: Vec<Error>,
}

/// One listener made ready. A connection keeps the one it was accepted under.
pub struct ListenerState {
    /// Its name.
    pub name: Arc<str>,
    /// What the snapshot says of it.
    pub spec: Listener,
    /// What its connections are.
    pub traffic: Traffic,
    /// Its metrics.
    pub metrics: Arc<ListenerMetrics>,
    /// Says that its connections should end.
    pub drain: DrainTrigger,
    pub(crate) tls: Option<Terminator>,
    pub(crate) slots: Arc<Semaphore>,
    /// Networks whose PROXY protocol header is believed; none: everyone's.
    pub(crate) trusted: Vec<crate::proxy_protocol::Network>,
}

/// What the connections of a listener are.
pub enum Traffic {
    /// HTTP.
    Http(Arc<Site>),
    /// Bytes that are not looked into.
    Tcp(Streams),
}

impl ListenerState {
    /// Bounds on what clients may take.
    pub fn limits(&self) -> &Limits {
        &self.spec.limits
    }

    /// How long clients may take.
    pub fn timeouts(&self) -> &Timeouts {
        &self.spec.timeouts
    }

    /// The client policy of a host's paths that have none of their own; none: nothing is asked.
    pub fn host_policy(&self, host: usize) -> Option<&Arc<CompiledPolicy>> {
        self.tls.as_ref()?.host(host)?.policy.as_ref()
    }

    /// Whether any policy of a host believes a chain: the host's own, or one of its paths'.
    pub(crate) fn is_believed_by_some_path(
        &self,
        host: Option<usize>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let verifier = || self.tls.as_ref()?.host(host?)?.verifier.as_ref();
        verifier().is_some_and(|verifier| verifier.is_believed(chain, now))
    }

    /// Whether plain HTTP on this TLS port is answered with a page of the site.
    pub(crate) fn has_page_for_plain_http(&self) -> bool {
        matches!(&self.traffic, Traffic::Http(site) if site.hosts.iter().any(|host| host.error_pages.has(497)))
    }

    /// What the handshake for a host demands of clients, by content. A request for a host whose key differs
    /// from its connection's [`crate::connection::TlsSession::policy_key`] is misdirected (421).
    pub fn policy_key(&self, host: usize) -> PolicyKey {
        self.tls.as_ref().map(|tls| tls.key(host)).unwrap_or_default()
    }
}

/// What a [`State`] is assembled with.
pub struct Assembly<'a> {
    /// The snapshot.
    pub snapshot: &'a Arc<Snapshot>,
    services: Arc<BTreeMap<String, Arc<ServiceState>>>,
    /// For metrics of one's own.
    pub metrics: &'a Arc<Metrics>,
    /// What is in force now, if anything: for what survives a reload.
    pub previous: Option<&'a State>,
    pub(crate) logs: &'a Logs,
    pub(crate) ticketers: &'a Ticketers,
    source: &'a dyn Source,
    files: BTreeSet<PathBuf>,
    material: Material,
    refused: Vec<Error>,
}

/// What outlives every state.
pub(crate) struct Surroundings {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) logs: Logs,
    pub(crate) ticketers: Ticketers,
    pub(crate) source: Arc<dyn Source>,
}

impl State {
    /// Makes a snapshot ready. `previous` is what is in force.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong. Nothing was changed then.
    pub(crate) fn assemble(
        snapshot: Arc<Snapshot>,
        surroundings: &Surroundings,
        previous: Option<&Self>,
    ) -> (Result<Self, Error>, BTreeSet<PathBuf>) {
        let mut assembly = Assembly {
            snapshot: &snapshot,
            services: Arc::default(),
            metrics: &surroundings.metrics,
            previous,
            logs: &surroundings.logs,
            ticketers: &surroundings.ticketers,
            source: &*surroundings.source,
            files: BTreeSet::new(),
            material: Material::default(),
            refused: Vec::new(),
        };
        let made = assembly.listeners();
        let Assembly { services, files, material, refused, .. } = assembly;
        let state = made.map(|listeners| Self {
            snapshot: Arc::clone(&snapshot),
            listeners,
            services,
            material,
            refused,
        });
        (state, files)
    }
}

impl Assembly<'_> {
    fn listeners(&mut self) -> Result<Vec<Arc<ListenerState>>, Error> {
        let before = self.previous.map(|state| Arc::clone(&state.services)).unwrap_or_default();
        self.services = Arc::new(ServiceState::assemble(self, &before)?);
        let snapshot = Arc::clone(self.snapshot);
        snapshot.listeners.iter().map(|listener| self.listener(listener).map(Arc::new)).collect()
    }

    fn listener(&mut self, spec: &Listener) -> Result<ListenerState, Error> {
        let tls = Terminator::assemble(spec, self)?;
        let traffic = match &spec.tcp {
            Some(tcp) => Traffic::Tcp(Streams::assemble(tcp, self)?),
            None => Traffic::Http(Arc::new(Site::compile(spec, self)?)),
        };
        let old = self
            .previous
            .and_then(|state| state.listeners.iter().find(|listener| *listener.name == *spec.name));
        // Connections are asked to end where anything but a certificate of ours became another.
        let same = |old: &&Arc<ListenerState>| {
            let keys = |tls: &Option<Terminator>| {
                tls.as_ref().map(|tls| tls.keys().collect::<Vec<_>>()).unwrap_or_default()
            };
            let previous = self.previous.map(|state| &state.snapshot);
            old.spec == *spec
                && keys(&old.tls) == keys(&tls)
                && previous.is_some_and(|previous| {
                    previous.services == self.snapshot.services
                        && previous.maps == self.snapshot.maps
                        && previous.access_log == self.snapshot.access_log
                })
        };
        let drain = old.filter(same).map(|old| old.drain.clone()).unwrap_or_default();
        let slots = old
            .filter(|old| old.spec.limits.connections == spec.limits.connections)
            .map(|old| Arc::clone(&old.slots))
            .unwrap_or_else(|| Arc::new(Semaphore::new(spec.limits.connections.min(Semaphore::MAX_PERMITS))));
        let metrics = match old {
            Some(old) => Arc::clone(&old.metrics),
            None => Arc::new(self.metrics.listener(&spec.name)),
        };
        let trusted = spec
            .proxy_protocol
            .iter()
            .flat_map(|proxy| &proxy.trusted)
            .map(|text| text.parse())
            .collect::<Result<_, Error>>()?;
        Ok(ListenerState {
            name: spec.name.as_str().into(),
            spec: spec.clone(),
            traffic,
            metrics,
            drain,
            tls,
            slots,
            trusted,
        })
    }

    /// A path of the configuration, relative to where that was read.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.snapshot.base.join(path)
    }

    /// Reads a file of the configuration; from now on a change of it is a reload.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>, Error> {
        let path = self.path(path);
        self.files.insert(path.clone());
        self.source.read(&path).map_err(|error| Error::reading(&path, &error))
    }

    /// All services; they are assembled before the listeners.
    pub fn services(&self) -> Arc<BTreeMap<String, Arc<ServiceState>>> {
        Arc::clone(&self.services)
    }

    /// A service that is named.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn service(&self, name: &str) -> Result<Arc<ServiceState>, Error> {
        self.services.get(name).cloned().ok_or_else(|| {
            Error::new(&serving::SERVICE_UNKNOWN, format!("there is no service named {name:?}"))
        })
    }

    /// Where the lines of an access log go; none: nowhere.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn log(&self, log: &AccessLog) -> Result<Option<Arc<Sink>>, Error> {
        self.logs.open(&log.to)
    }

    /// A certificate with its key. Where the files are wrong now but were good before, the good content stays.
    pub(crate) fn certificate(&mut self, files: &CertificateFiles) -> Result<Arc<Certificate>, Error> {
        if let Some(known) = self.material.certificates.get(files) {
            return Ok(Arc::clone(known));
        }
        let base = self.snapshot.base.clone();
        self.files.extend([base.join(&files.chain), base.join(&files.key)]);
        let old = self.previous.and_then(|state| state.material.certificates.get(files));
        let provider = crate::tls::provider::default_provider();
        let certificate = match certificates::load(&base, files, self.source, &provider, now()) {
            Ok(new) => match old {
                Some(old) if old.content == new.content => Arc::clone(old),
                _ => Arc::new(new),
            },
            Err(error) => {
                let old = old.cloned().ok_or_else(|| error.clone())?;
                // An old one that has ended in the meantime is no news: it is warned of by itself.
                if error.code() != &serving::CERTIFICATE_SERVED_EXPIRED || old.not_after > now() {
                    self.refused.push(error);
                }
                old
            }
        };
        self.material.certificates.insert(files.clone(), Arc::clone(&certificate));
        Ok(certificate)
    }

    /// Compiles a client policy. Where its files are wrong now but were good before, the good content stays.
    ///
    /// # Errors
    ///
    /// When a file is missing or wrong, or a fingerprint is none.
    pub fn policy(&mut self, spec: &ClientPolicy) -> Result<Arc<CompiledPolicy>, Error> {
        if let Some(known) = self.material.policies.iter().find(|known| known.spec == *spec) {
            return Ok(Arc::clone(known));
        }
        let old = self
            .previous
            .and_then(|state| state.material.policies.iter().find(|old| old.spec == *spec))
            .cloned();
        let policy = match (self.compile(spec), old) {
            (Ok(new), Some(old)) if old.key == new.key => old,
            (Ok(new), _) => Arc::new(new),
            (Err(error), Some(old)) => {
                self.refused.push(error);
                old
            }
            (Err(error), None) => return Err(error),
        };
        self.material.policies.push(Arc::clone(&policy));
        Ok(policy)
    }

    fn compile(&mut self, spec: &ClientPolicy) -> Result<CompiledPolicy, Error> {
        let named = Authorities::read(&spec.ca, self)?;
        let unnamed = Authorities::read(&spec.trusted, self)?;
        let lists = Lists::read(&spec.crl, self)?;
        let mut pinned = Vec::new();
        for text in &spec.pinned {
            pinned.push(fingerprint(text)?);
        }
        let nobody = named.is_empty() && unnamed.is_empty() && pinned.is_empty();
        if nobody && matches!(spec.mode, ClientMode::Required | ClientMode::Optional) {
            return Err(Error::new(
                &serving::CLIENTS_WITHOUT_AUTHORITY,
                serving::CLIENTS_WITHOUT_AUTHORITY.title,
            ));
        }
        let names = named.subjects();
        let described = format!("{spec:?}").into_bytes();
        let key = PolicyKey(sha256([described, named.content(), unnamed.content(), lists.content()]));
        let trust = named.and(unnamed).trust(&lists)?;
        let lists_until = lists.until();
        self.material.lists.extend(lists.into_entries());
        Ok(CompiledPolicy::new(key, spec.clone(), Parts { names, trust, pinned, lists_until }))
    }

    /// Authorities and revocation lists that services are verified with.
    pub(crate) fn trust(&mut self, ca: &[PathBuf], crl: &[PathBuf]) -> Result<Trusted, Error> {
        let authorities = Authorities::read(ca, self)?;
        let lists = Lists::read(crl, self)?;
        let content = sha256([authorities.content(), lists.content()]);
        let trust = authorities.trust(&lists)?;
        self.material.lists.extend(lists.into_entries());
        Ok(Trusted { trust, content })
    }

    /// Revocation lists alone, DER.
    pub(crate) fn lists(&mut self, crl: &[PathBuf]) -> Result<Vec<Vec<u8>>, Error> {
        let lists = Lists::read(crl, self)?;
        let ders = lists.ders();
        self.material.lists.extend(lists.into_entries());
        Ok(ders)
    }
}

/// Authorities and lists, loaded.
pub(crate) struct Trusted {
    pub(crate) trust: certs::verify::Trust,
    /// SHA-256 over all of it.
    pub(crate) content: [u8; 32],
}

fn fingerprint(text: &str) -> Result<[u8; 32], Error> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let mut bytes = [0; 32];
    hex::decode_to_slice(&digits, &mut bytes).map_err(|_| {
        Error::new(
            &model::codes::usage::USAGE,
            format!("{text:?} is not a SHA-256 fingerprint: 64 hexadecimal digits, colons allowed"),
        )
    })?;
    Ok(bytes)
}

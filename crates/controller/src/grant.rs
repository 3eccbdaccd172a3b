//! Which names a Certificate gets. Pure: what the API server vouches for is passed in as a [`World`]
//! (docs/adr/0071-who-may-have-which-name.md). The object's own words only choose among it.

use std::net::IpAddr;

use certs::AltName;
use model::identity::{SpiffeId, TrustDomain};

use crate::certificate::CertificateSpec;
use crate::error::{Error, Result};
use crate::names::ALLOWED_DNS_ANNOTATION;

#[cfg(test)]
mod tests;

/// More names in one certificate are refused: it would not fit into a handshake any more.
const MOST_NAMES: usize = 100;

/// What the API server knows.
pub trait World {
    /// Whether a namespace exists.
    fn namespace_exists(&self, namespace: &str) -> bool;
    /// The annotation of a namespace that allows DNS names.
    fn allowed_dns_names(&self, namespace: &str) -> Option<String>;
    /// The cluster addresses of a Service; `None` where there is no such Service.
    fn service(&self, namespace: &str, name: &str) -> Option<Vec<IpAddr>>;
    /// Whether a Service is an ExternalName: a name for somebody else's address.
    fn points_elsewhere(&self, namespace: &str, name: &str) -> bool;
    /// Whether a service account exists.
    fn service_account_exists(&self, namespace: &str, name: &str) -> bool;
}

/// The two domains of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains {
    /// Of SPIFFE IDs.
    pub trust: TrustDomain,
    /// Of the names of Services, `cluster.local`; in lower case, without dots at its ends.
    pub cluster: String,
}

impl Domains {
    /// Checks the cluster's domain.
    ///
    /// # Errors
    ///
    /// When it is no DNS name.
    pub fn new(trust: TrustDomain, cluster: &str) -> Result<Self> {
        match AltName::dns(cluster.trim_end_matches('.')) {
            Ok(AltName::Dns(cluster)) if !cluster.starts_with('*') => Ok(Self { trust, cluster }),
            _ => Err(Error::Option(format!("the cluster domain {cluster:?} is no DNS name"))),
        }
    }
}

/// The names that a Certificate of this namespace gets: the SPIFFE ID first, then DNS names, then addresses.
///
/// # Errors
///
/// The first name that is refused, with the reason in one sentence. Nothing is granted in part.
pub fn names_granted(
    namespace: &str,
    spec: &CertificateSpec,
    world: &impl World,
    domains: &Domains,
) -> Result<Vec<AltName>> {
    let asked = spec.services.len() * 5 + spec.dns_names.len();
    if asked > 5 * MOST_NAMES {
        return Err(Error::Spec(format!("a certificate has {MOST_NAMES} names at most")));
    }
    let mut names = Vec::new();
    if let Some(account) = &spec.service_account {
        if !world.service_account_exists(namespace, account) {
            return refuse(format!("there is no service account {account:?} in the namespace {namespace}"));
        }
        let id = SpiffeId::service_account(&domains.trust, namespace, account).map_err(|why| {
            Error::Name(format!("the service account {account:?} gives no SPIFFE ID: {why}"))
        })?;
        names.push(AltName::from(&id));
    }
    let mut addresses = Vec::new();
    for service in &spec.services {
        let found = service_granted(namespace, service, world)?;
        for suffix in ["", &format!(".{namespace}"), &format!(".{namespace}.svc")] {
            names.push(AltName::dns(&format!("{service}{suffix}"))?);
        }
        names.push(AltName::dns(&format!("{service}.{namespace}.svc.{}", domains.cluster))?);
        if spec.cluster_ips {
            addresses.extend(found.into_iter().map(AltName::Ip));
        }
    }
    if !spec.dns_names.is_empty() {
        let allowed = Allowed::parse(world.allowed_dns_names(namespace).as_deref().unwrap_or_default());
        for text in &spec.dns_names {
            names.push(dns_name(namespace, text, &allowed, world, domains)?);
        }
    }
    names.extend(addresses);
    let mut unique = Vec::with_capacity(names.len());
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    match unique.len() {
        0 => Err(Error::Spec(
            "it asks for no name: give spec.serviceAccount, spec.services or spec.dnsNames".to_owned(),
        )),
        count if count > MOST_NAMES => {
            Err(Error::Spec(format!("it asks for {count} names, and a certificate has {MOST_NAMES} at most")))
        }
        _ => Ok(unique),
    }
}

/// The addresses of a Service whose names may stand in a certificate of its namespace.
fn service_granted(namespace: &str, service: &str, world: &impl World) -> Result<Vec<IpAddr>> {
    let Some(found) = world.service(namespace, service) else {
        return refuse(format!("there is no Service {service:?} in the namespace {namespace}"));
    };
    if let Some(whose) = reserved(namespace, service) {
        return refuse(format!(
            "the names of the Service {service:?} in the namespace {namespace} are {whose}"
        ));
    }
    if world.points_elsewhere(namespace, service) {
        return refuse(format!(
            "the Service {service:?} in the namespace {namespace} is an ExternalName: it stands for somebody else's \
             address"
        ));
    }
    Ok(found)
}

/// Whose the names of a Service are that no workload may have, though whoever writes in its namespace can make it or
/// change it.
pub(crate) fn reserved(namespace: &str, service: &str) -> Option<&'static str> {
    match (namespace, service) {
        ("default", "kubernetes") => Some("the API server's"),
        (_, "localhost") => Some("every machine's own"),
        _ => None,
    }
}

/// A DNS name that is not simply a Service's.
fn dns_name(
    namespace: &str,
    text: &str,
    allowed: &Allowed,
    world: &impl World,
    domains: &Domains,
) -> Result<AltName> {
    let name = AltName::dns(text).map_err(|why| Error::Name(why.to_string()))?;
    let AltName::Dns(plain) = &name else { return refuse(format!("{text:?} is no DNS name")) };
    let labels: Vec<&str> = plain.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    // What ends in a number is an IPv4 address to browsers and to inet_aton (1.2, 0x7f.1).
    if last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return refuse(format!("{text:?} is read as an IP address by some programs"));
    }
    match place(&labels, &domains.cluster, world) {
        Place::Service { service, namespace: of, pods } => {
            if of != namespace {
                return refuse(format!(
                    "{text:?} is a name of the namespace {of}, and this Certificate is in {namespace}"
                ));
            }
            if pods > 1 || world.service(namespace, service).is_none() {
                return refuse(format!(
                    "{text:?} is no name of a Service of the namespace {namespace}, nor of a pod below one"
                ));
            }
            service_granted(namespace, service, world)?;
            Ok(name)
        }
        Place::Cluster => refuse(format!(
            "{text:?} lies under the cluster's own domain, where only names of this namespace's Services are granted"
        )),
        Place::Elsewhere if labels.len() == 1 && world.service(namespace, plain).is_some() => {
            service_granted(namespace, plain, world)?;
            Ok(name)
        }
        Place::Elsewhere if allowed.permits(plain) => Ok(name),
        Place::Elsewhere => refuse(format!(
            "{text:?} is not allowed in the namespace {namespace}: its annotation {ALLOWED_DNS_ANNOTATION} does not \
             name it"
        )),
    }
}

/// Where a DNS name lies, as a pod would resolve it.
enum Place<'a> {
    /// A Service, or so many labels below one.
    Service { service: &'a str, namespace: &'a str, pods: usize },
    /// Under the cluster's domain, and no Service's name.
    Cluster,
    /// In the rest of the world.
    Elsewhere,
}

/// Pods complete names by `NS.svc.DOMAIN`, `svc.DOMAIN` and `DOMAIN` before they ask for them as they are:
/// `db.other` and `db.other.svc` are Services too.
fn place<'a>(labels: &[&'a str], domain: &str, world: &impl World) -> Place<'a> {
    let domain: Vec<&str> = domain.split('.').collect();
    let full = labels.ends_with(&domain);
    let inner = if full { labels.get(..labels.len() - domain.len()).unwrap_or_default() } else { labels };
    match inner {
        [rest @ .., service, namespace, "svc"] => Place::Service { service, namespace, pods: rest.len() },
        _ if full => Place::Cluster,
        [.., "svc" | "pod"] => Place::Cluster,
        [service, namespace] if world.namespace_exists(namespace) => {
            Place::Service { service, namespace, pods: 0 }
        }
        [rest @ .., service, namespace]
            if !rest.is_empty() && world.service(namespace, service).is_some() =>
        {
            Place::Service { service, namespace, pods: rest.len() }
        }
        _ => Place::Elsewhere,
    }
}

/// The annotation: exact names, and `*.suffix` for all below a suffix.
struct Allowed(Vec<String>);

impl Allowed {
    fn parse(annotation: &str) -> Self {
        let entries = annotation.split([',', ' ', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        // An entry that is no DNS name allows nothing: `*`, `*.com` or an empty suffix are mistakes.
        Self(entries.filter_map(|entry| AltName::dns(entry).ok()).map(|name| name.value()).collect())
    }

    fn permits(&self, name: &str) -> bool {
        self.0.iter().any(|entry| match entry.strip_prefix('*') {
            Some(suffix) => name.ends_with(suffix),
            None => name == entry,
        })
    }
}

fn refuse<T>(why: String) -> Result<T> {
    Err(Error::Name(why))
}

//! The names that the operator grants: the same options for `issue` and `sign`.

use certs::{AltName, Authority, Usage};
use model::identity::{SpiffeId, TrustDomain};

use crate::commands::Globals;
use crate::failure::Failure;

/// Options that name the owner of a certificate.
#[derive(clap::Args, Default)]
pub struct Names {
    /// A DNS name, `*.example.com` too; may be repeated.
    #[arg(long, value_name = "NAME", env = "HANDFAST_DNS", value_delimiter = ',')]
    pub dns: Vec<String>,
    /// An IP address; may be repeated.
    #[arg(long, value_name = "ADDRESS", env = "HANDFAST_IP", value_delimiter = ',')]
    pub ip: Vec<String>,
    /// A URI; may be repeated.
    #[arg(long, value_name = "URI", env = "HANDFAST_URI", value_delimiter = ',')]
    pub uri: Vec<String>,
    /// A SPIFFE ID: NAMESPACE/SERVICE-ACCOUNT in the authority's trust domain, or all of spiffe://...
    #[arg(long, value_name = "NS/SA", env = "HANDFAST_SPIFFE")]
    pub spiffe: Option<String>,
    /// An e-mail address; may be repeated.
    #[arg(long, value_name = "ADDRESS", env = "HANDFAST_EMAIL", value_delimiter = ',')]
    pub email: Vec<String>,
}

impl Names {
    /// Checks them all.
    pub fn parse(&self, trust_domain: &TrustDomain) -> Result<Vec<AltName>, Failure> {
        let mut names = Vec::new();
        let mut add = |name: Result<AltName, certs::Error>| -> Result<(), Failure> {
            let name = name.map_err(|e| Failure::from(e).exit(crate::failure::EXIT_USAGE))?;
            if !names.contains(&name) {
                names.push(name);
            }
            Ok(())
        };
        for text in &self.dns {
            add(AltName::dns(text))?;
        }
        for text in &self.ip {
            add(AltName::ip(text))?;
        }
        for text in &self.uri {
            add(AltName::uri(text))?;
        }
        if let Some(text) = &self.spiffe {
            add(Ok(AltName::from(&spiffe(text, trust_domain)?)))?;
        }
        for text in &self.email {
            add(AltName::email(text))?;
        }
        Ok(names)
    }
}

/// Options that say what a certificate is for: the same for `issue` and `sign`.
#[derive(clap::Args)]
pub struct For {
    /// For servers.
    #[arg(long, env = "HANDFAST_SERVER", conflicts_with_all = ["client", "both"])]
    server: bool,
    /// For clients.
    #[arg(long, env = "HANDFAST_CLIENT", conflicts_with = "both")]
    pub client: bool,
    /// For both. Default: both for a SPIFFE ID, server for DNS names and addresses, else client.
    #[arg(long, env = "HANDFAST_BOTH")]
    both: bool,
    /// With --server or --client: for nothing else, even with a SPIFFE ID, which is for both by its standard.
    #[arg(long, env = "HANDFAST_ONLY")]
    only: bool,
}

impl For {
    /// What the certificate is for; `None` follows from the names.
    pub fn usage(&self, names: &[AltName]) -> Option<Usage> {
        let wanted = match (self.server, self.client, self.both) {
            (true, ..) => Usage::Server,
            (_, true, _) => Usage::Client,
            (_, _, true) => Usage::Both,
            _ => return None,
        };
        if wanted != Usage::Both && !self.only && names.iter().any(is_spiffe) {
            eprintln!(
                "note: a certificate with a SPIFFE ID is for servers and clients (X.509-SVID, section 4.4); \
                 add --only for one use alone"
            );
            return Some(Usage::Both);
        }
        Some(wanted)
    }
}

/// The authority's trust domain. The authority is not kept open, and locked, while a person thinks or a key is
/// made.
pub fn trust_domain(globals: &Globals) -> Result<TrustDomain, Failure> {
    let ledger = Authority::open_ledger(&globals.dir)?;
    let text = ledger.setting("trust_domain")?.unwrap_or_default();
    text.parse().map_err(|e| {
        Failure::new(&model::codes::certificates::CA_BROKEN, format!("trust domain {text}: {e}"))
    })
}

/// Whether a name is an identity of the mesh.
pub fn is_spiffe(name: &AltName) -> bool {
    matches!(name, AltName::Uri(uri) if uri.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("spiffe:")))
}

fn spiffe(text: &str, trust_domain: &TrustDomain) -> Result<SpiffeId, Failure> {
    let id = if text.contains("://") {
        text.parse()
    } else {
        let (namespace, account) = text.split_once('/').ok_or_else(|| {
            Failure::usage(format!("--spiffe {text}: it is NAMESPACE/SERVICE-ACCOUNT, as in shop/web"))
        })?;
        SpiffeId::service_account(trust_domain, namespace, account)
    };
    id.map_err(|reason| Failure::usage(format!("--spiffe {text}: {reason}")))
}

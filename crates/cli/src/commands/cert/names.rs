//! The names that the operator grants: the same options for `issue` and `sign`.

use certs::AltName;
use model::identity::{SpiffeId, TrustDomain};

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

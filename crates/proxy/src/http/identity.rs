//! Who the client is, told to the application in headers. Whatever a client sends under those names is
//! stripped first, in each spelling that an application may take for them (invariant 7).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::peer::Peer;
use model::snapshot::Identity;

use super::path::encode_component;
use super::variables::{peer_pem, verify_text};

#[cfg(test)]
mod tests;

const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const VERIFY: HeaderName = HeaderName::from_static("x-ssl-client-verify");

/// Whether a header of this name speaks of a client's identity. Underscores count as hyphens, because CGI and
/// its heirs make one name of `X-Ssl-Client-Verify` and `X_Ssl_Client_Verify`.
pub fn speaks_of_identity(name: &HeaderName) -> bool {
    let name = name.as_str();
    let folded;
    let name = if name.contains('_') {
        folded = name.replace('_', "-");
        folded.as_str()
    } else {
        name
    };
    name == "x-forwarded-client-cert"
        || name == "client-cert"
        || name == "client-cert-chain"
        || name.starts_with("x-ssl-client-")
        || name.starts_with("x-client-cert")
        || name.starts_with("x-forwarded-tls-client-cert")
        || name.starts_with("ssl-client-")
        || name == "x-ssl-cert"
}

/// Adds the headers of this form. The first two are sent only for an identity that was verified; nginx's form
/// says itself whether it was.
pub fn add(headers: &mut HeaderMap, form: Identity, peer: Option<&Arc<Peer>>) {
    if form == Identity::Off {
        return;
    }
    let Some(peer) = peer else {
        if form == Identity::Nginx {
            headers.insert(VERIFY, HeaderValue::from_static("NONE"));
        }
        return;
    };
    if form != Identity::Nginx && !peer.verification.is_trusted() {
        return;
    }
    for (name, value) in &*prepared(form, peer) {
        headers.insert(name.clone(), value.clone());
    }
}

type Prepared = Arc<[(HeaderName, HeaderValue)]>;
type Cache = HashMap<(usize, u8), (Weak<Peer>, Prepared)>;

/// Peers whose headers are remembered, per worker: encoding a certificate costs more than a request.
const MOST_REMEMBERED: usize = 256;

fn prepared(form: Identity, peer: &Arc<Peer>) -> Prepared {
    thread_local!(static CACHE: RefCell<Cache> = RefCell::default());
    let key = (Arc::as_ptr(peer) as usize, form as u8);
    CACHE.with_borrow_mut(|cache| {
        // While a weak reference is kept, no other peer can have this address.
        if let Some((_, known)) = cache.get(&key) {
            return Arc::clone(known);
        }
        if cache.len() >= MOST_REMEMBERED {
            cache.retain(|_, (peer, _)| peer.strong_count() > 0);
            if cache.len() >= MOST_REMEMBERED {
                cache.clear();
            }
        }
        let made: Prepared = make(form, peer).into();
        cache.insert(key, (Arc::downgrade(peer), Arc::clone(&made)));
        made
    })
}

fn make(form: Identity, peer: &Peer) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    let mut add = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.push((name, value));
        }
    };
    match form {
        Identity::Off => {}
        Identity::Xfcc => add(XFCC, xfcc(peer)),
        Identity::Rfc9440 => {
            let item = |der: &Vec<u8>| format!(":{}:", base64::engine::general_purpose::STANDARD.encode(der));
            if let Some(leaf) = peer.chain.first() {
                add(CLIENT_CERT, item(leaf));
            }
            // Section 2.3: the chain is without the leaf.
            let rest: Vec<String> = peer.chain.iter().skip(1).map(item).collect();
            if !rest.is_empty() {
                add(CLIENT_CERT_CHAIN, rest.join(", "));
            }
        }
        Identity::Nginx => {
            add(VERIFY, verify_text(Some(peer)).into_owned());
            for (name, value) in [
                ("x-ssl-client-s-dn", ascii(&peer.subject)),
                ("x-ssl-client-i-dn", ascii(&peer.issuer)),
                ("x-ssl-client-serial", peer.serial.clone()),
                ("x-ssl-client-fingerprint", peer.sha1.clone()),
                ("x-ssl-client-cert", encode_component(&peer_pem(peer)).into_owned()),
            ] {
                add(HeaderName::from_static(name), value);
            }
        }
    }
    headers
}

/// One element of `x-forwarded-client-cert`, as Envoy writes it: Hash, Cert, Chain, Subject, URI, DNS.
pub fn xfcc(peer: &Peer) -> String {
    let mut fields = vec![format!("Hash={}", peer.sha256)];
    fields.push(format!("Cert=\"{}\"", encode_component(&peer_pem(peer))));
    let chain: String = peer.chain.iter().map(|der| super::variables::pem(der)).collect();
    fields.push(format!("Chain=\"{}\"", encode_component(&chain)));
    fields.push(format!("Subject=\"{}\"", escaped(&ascii(&peer.subject))));
    for uri in &peer.uris {
        fields.push(format!("URI={}", quoted(&ascii(uri))));
    }
    for dns in &peer.dns {
        fields.push(format!("DNS={}", quoted(&ascii(dns))));
    }
    fields.join(";")
}

/// A value in quotes where it has a separator in it.
fn quoted(value: &str) -> String {
    if value.contains([',', ';', '=', '"']) { format!("\"{}\"", escaped(value)) } else { value.to_owned() }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Header values are ASCII; all else in a name is escaped as in RFC 2253 (`\C3\A9`), so that no two names
/// become one and no line break gets through.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_graphic() || character == ' ' {
            out.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("\\{byte:02X}"));
            }
        }
    }
    out
}

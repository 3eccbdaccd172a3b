//! OpenSSL's cipher lists, curves and protocol names, in terms of what the TLS library has.

use model::snapshot::TlsVersion;

/// A suite of TLS 1.2 that both OpenSSL and Handfast have.
struct Suite {
    openssl: &'static str,
    iana: &'static str,
    /// The words of OpenSSL's lists that it belongs to, beside `ALL`, `HIGH`, `ECDHE` and the like.
    words: &'static [&'static str],
}

/// In OpenSSL's order of strength.
const SUITES: [Suite; 6] = [
    Suite {
        openssl: "ECDHE-ECDSA-AES256-GCM-SHA384",
        iana: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        words: &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Suite {
        openssl: "ECDHE-RSA-AES256-GCM-SHA384",
        iana: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        words: &["aRSA", "RSA-AUTH", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Suite {
        openssl: "ECDHE-ECDSA-CHACHA20-POLY1305",
        iana: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        words: &["aECDSA", "ECDSA", "CHACHA20"],
    },
    Suite {
        openssl: "ECDHE-RSA-CHACHA20-POLY1305",
        iana: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        words: &["aRSA", "CHACHA20"],
    },
    Suite {
        openssl: "ECDHE-ECDSA-AES128-GCM-SHA256",
        iana: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        words: &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Suite {
        openssl: "ECDHE-RSA-AES128-GCM-SHA256",
        iana: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        words: &["aRSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
];

/// Words that all six suites belong to.
const COMMON: [&str; 11] = [
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFDEFAULT",
    "HIGH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "TLSv1.2",
    "FIPS",
    "SUITEB128",
];

/// A list that was understood.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ciphers {
    /// TLS 1.2 suites by their IANA names, in order.
    pub(crate) suites: Vec<String>,
    /// Words and suites that Handfast does not have.
    pub(crate) dropped: Vec<String>,
}

/// The TLS 1.3 suites, in OpenSSL's order; nginx's `ssl_ciphers` does not touch them.
pub(crate) const TLS13: [&str; 3] =
    ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];

fn belongs(suite: &Suite, word: &str) -> bool {
    word.split('+').all(|part| {
        suite.openssl == part || suite.iana == part || COMMON.contains(&part) || suite.words.contains(&part)
    })
}

/// Reads a list as `SSL_CTX_set_cipher_list` does: words add, `!` bars for good, `-` takes out, `+` moves last.
pub(crate) fn parse(list: &str) -> Ciphers {
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut barred: Vec<&str> = Vec::new();
    let mut result = Ciphers::default();
    for token in list.split([':', ',', ' ', ';']).filter(|token| !token.is_empty()) {
        if token.starts_with('@') {
            continue;
        }
        let (operator, word) = match token.as_bytes().first() {
            Some(b'!' | b'-' | b'+') => token.split_at(1),
            _ => ("", token),
        };
        let fitting: Vec<&Suite> = SUITES.iter().filter(|suite| belongs(suite, word)).collect();
        match operator {
            "!" => {
                barred.extend(fitting.iter().map(|suite| suite.iana));
                chosen.retain(|suite| !belongs(suite, word));
            }
            "-" => chosen.retain(|suite| !belongs(suite, word)),
            "+" => {
                let moved: Vec<&Suite> =
                    chosen.iter().copied().filter(|suite| belongs(suite, word)).collect();
                chosen.retain(|suite| !belongs(suite, word));
                chosen.extend(moved);
            }
            _ => {
                if fitting.is_empty() {
                    result.dropped.push(word.to_owned());
                }
                for suite in fitting {
                    if !barred.contains(&suite.iana) && !chosen.iter().any(|own| own.iana == suite.iana) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    result.suites = chosen.iter().map(|suite| suite.iana.to_owned()).collect();
    result
}

/// Whether a list holds all that there is, so that the library's own order may stand.
pub(crate) fn is_everything(suites: &[String]) -> bool {
    suites.len() == SUITES.len()
}

/// Reads `ssl_ecdh_curve`: the groups in order, and the names that Handfast does not have.
pub(crate) fn groups(list: &str) -> (Vec<String>, Vec<String>) {
    let (mut groups, mut dropped) = (Vec::new(), Vec::new());
    for name in list.split(':').filter(|name| !name.is_empty() && *name != "auto") {
        let group = match name.trim_start_matches(['?', '*']).to_ascii_lowercase().as_str() {
            "x25519mlkem768" => "X25519MLKEM768",
            "x25519" => "X25519",
            "prime256v1" | "p-256" | "secp256r1" => "P-256",
            "secp384r1" | "p-384" => "P-384",
            _ => {
                dropped.push(name.to_owned());
                continue;
            }
        };
        if !groups.iter().any(|own| own == group) {
            groups.push(group.to_owned());
        }
    }
    (groups, dropped)
}

/// Reads `ssl_protocols`: the lowest and highest version that there is, and the names that are dropped.
/// `None` for a word that is no protocol.
#[allow(clippy::type_complexity)]
pub(crate) fn protocols<'w>(
    words: impl Iterator<Item = &'w str>,
) -> Result<(Option<(TlsVersion, TlsVersion)>, Vec<&'w str>), &'w str> {
    let (mut versions, mut dropped) = (Vec::new(), Vec::new());
    for word in words {
        match word {
            "TLSv1.2" => versions.push(TlsVersion::V1_2),
            "TLSv1.3" => versions.push(TlsVersion::V1_3),
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => dropped.push(word),
            _ => return Err(word),
        }
    }
    versions.sort();
    let range = versions.first().copied().zip(versions.last().copied());
    Ok((range, dropped))
}

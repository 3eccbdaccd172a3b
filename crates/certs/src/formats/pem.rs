//! PEM (RFC 7468), read as leniently as OpenSSL does: text between the sections, CR LF, a byte order mark
//! and old labels are accepted; a section that is broken is not, and its line is named.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{Contents, Format, FormatError, KeyDer, MAX_BYTES, MAX_OBJECTS};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads every section of a PEM text.
///
/// # Errors
///
/// [`FormatError::Pem`] with the line of a broken section; [`FormatError::TooLarge`].
pub fn parse(bytes: &[u8]) -> Result<Contents, FormatError> {
    if bytes.len() > MAX_BYTES {
        return Err(FormatError::TooLarge(format!("{} bytes, {MAX_BYTES} are read at most", bytes.len())));
    }
    let mut contents = Contents::new(Format::Pem);
    let mut open: Option<Section> = None;
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
        let broken = |what: String| FormatError::Pem { line: number, what };
        if let Some(label) = boundary(line, b"-----BEGIN ") {
            if let Some(section) = open.take() {
                return Err(broken(format!(
                    "a new section begins before {} of line {} has ended",
                    quoted(&section.label),
                    section.line
                )));
            }
            open = Some(Section { label, line: number, text: Zeroizing::new(Vec::new()), encrypted: false });
        } else if let Some(label) = boundary(line, b"-----END ") {
            let Some(section) = open.take() else {
                return Err(broken(format!("the end of {} without its beginning", quoted(&label))));
            };
            if section.label != label {
                return Err(broken(format!(
                    "{} began on line {}, but {} ends",
                    quoted(&section.label),
                    section.line,
                    quoted(&label)
                )));
            }
            section.finish(&mut contents)?;
            if contents.objects() > MAX_OBJECTS {
                return Err(FormatError::TooLarge(format!("more than {MAX_OBJECTS} sections")));
            }
        } else if let Some(section) = &mut open {
            // Headers of RFC 1421, as OpenSSL's old key encryption writes them.
            if line.contains(&b':') {
                section.encrypted |= line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
            } else {
                section.text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
            }
        }
    }
    if let Some(section) = open {
        let what = format!("{} has no -----END line; is the file cut off?", quoted(&section.label));
        return Err(FormatError::Pem { line: section.line, what });
    }
    Ok(contents)
}

struct Section {
    label: String,
    line: usize,
    text: Zeroizing<Vec<u8>>,
    encrypted: bool,
}

impl Section {
    fn finish(self, contents: &mut Contents) -> Result<(), FormatError> {
        let broken = |what: String| FormatError::Pem { line: self.line, what };
        if self.encrypted {
            return Err(FormatError::Unsupported(
                "the key has OpenSSL's old encryption (one round of MD5); convert it with: openssl pkcs8 -topk8 \
                 -in OLD.key -out NEW.key"
                    .to_owned(),
            ));
        }
        let der = ENGINE
            .decode(self.text.as_slice())
            .map(Zeroizing::new)
            .map_err(|error| broken(format!("the base64 of {} is broken: {error}", quoted(&self.label))))?;
        if der.is_empty() {
            return Err(broken(format!("{} is empty", quoted(&self.label))));
        }
        match self.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                // OpenSSL's trusted certificates have settings behind the certificate.
                let length = super::tlv::take(&der, super::tlv::SEQUENCE)
                    .map(|(_, rest)| der.len() - rest.len())
                    .ok_or_else(|| broken("the certificate is no DER sequence".to_owned()))?;
                if length != der.len() && self.label != "TRUSTED CERTIFICATE" {
                    return Err(broken("data follows the certificate within its section".to_owned()));
                }
                contents.certificates.push(CertificateDer::from(der[..length].to_vec()));
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => contents.keys.push(KeyDer(der)),
            "ENCRYPTED PRIVATE KEY" => contents.encrypted_keys.push(der.to_vec()),
            "X509 CRL" => contents.crls.push(der.to_vec()),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => contents.requests.push(der.to_vec()),
            _ => contents.ignored.push(quoted(&self.label).to_owned()),
        }
        Ok(())
    }
}

/// A label as it may be shown. Labels are words in capitals (RFC 7468, section 2); anything else may be a line of a key
/// that came into the place of one.
fn quoted(label: &str) -> &str {
    let word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" #-".contains(&byte);
    if label.bytes().all(word) { label } else { "something unknown" }
}

fn boundary(line: &[u8], begin: &[u8]) -> Option<String> {
    let label = line.strip_prefix(begin)?.strip_suffix(b"-----")?;
    // Dashes within it: the lines were joined, and what would be a label is the section itself.
    let joined = label.windows(5).any(|window| window == b"-----");
    let plain = label.len() <= 64 && !joined && label.iter().all(|byte| (0x20..0x7f).contains(byte));
    plain.then(|| String::from_utf8_lossy(label).into_owned())
}

/// One section, with lines of 64 characters.
pub fn section(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(encoded.len() + encoded.len() / 64 + 128));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Certificates, one after another.
pub fn write(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|der| section("CERTIFICATE", der).to_string()).collect()
}

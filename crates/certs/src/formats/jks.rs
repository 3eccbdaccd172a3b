//! JKS, Java's own store before PKCS#12 (sun.security.provider.JavaKeyStore), which Kafka, older Tomcats
//! and many scripts still want. No well-kept library writes it, and it is small:
//!
//! ```text
//! magic FEEDFEED, version 1 or 2, count
//! entry: tag 1 (key):     alias, date, encrypted key, chain length, { type, certificate }*
//!        tag 2 (trusted): alias, date, type, certificate
//! SHA-1 over the password in UTF-16, "Mighty Aphrodite", and all of the above
//! ```
//!
//! The protection is weak by today's measure (SHA-1, one round): the password does not replace file
//! permissions. PKCS#12 is better wherever it is understood.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::tlv::{OCTETS, OID, SEQUENCE, take, wrap};
use super::{Contents, Format, FormatError, KeyDer, MAX_BYTES, MAX_OBJECTS};

const MAGIC: u32 = 0xfeed_feed;
const JCEKS_MAGIC: u32 = 0xcece_cece;
const SALT: &[u8] = b"Mighty Aphrodite";
const DIGEST: usize = 20;
/// 1.3.6.1.4.1.42.2.17.1.1, Sun's key protector.
const PROTECTOR: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];

/// Reads a store. Without a password its certificates are read unverified, and its keys stay closed.
///
/// # Errors
///
/// [`FormatError`]: the password is wrong, the store is damaged, or it is a JCEKS store.
pub fn parse(bytes: &[u8], password: Option<&str>) -> Result<Contents, FormatError> {
    if bytes.len() > MAX_BYTES {
        return Err(FormatError::TooLarge(format!("{} bytes, {MAX_BYTES} are read at most", bytes.len())));
    }
    let Some(split) = bytes.len().checked_sub(DIGEST) else { return Err(damaged("it is cut off")) };
    let (body, digest) = bytes.split_at(split);
    let mut reader = Reader(body);
    match reader.u32()? {
        MAGIC => {}
        JCEKS_MAGIC => {
            return Err(FormatError::Unsupported(
                "this is a JCEKS store; convert it with: keytool -importkeystore -srckeystore FILE -srcstoretype \
                 JCEKS -destkeystore NEW.p12 -deststoretype PKCS12"
                    .to_owned(),
            ));
        }
        _ => return Err(damaged("it does not begin as a JKS store does")),
    }
    let version = reader.u32()?;
    if !(1..=2).contains(&version) {
        return Err(FormatError::Unsupported(format!("JKS version {version} is not known")));
    }
    let password = password.map(utf16);
    if let Some(password) = &password {
        verify_slices_are_equal(&sum(password, body), digest)
            .map_err(|_| FormatError::PasswordWrong(Format::Jks))?;
    }
    let count = reader.u32()? as usize;
    if count > MAX_OBJECTS {
        return Err(FormatError::TooLarge(format!("{count} entries, {MAX_OBJECTS} are read at most")));
    }
    let mut contents = Contents::new(Format::Jks);
    let mut trusted = Vec::new();
    for _ in 0..count {
        let tag = reader.u32()?;
        contents.aliases.push(reader.text()?);
        reader.take(8)?;
        match tag {
            1 => {
                let sealed = reader.block()?;
                match &password {
                    Some(password) => contents.keys.push(open(sealed, password)?),
                    None => contents.encrypted_keys.push(sealed.to_vec()),
                }
                let length = reader.u32()? as usize;
                for _ in 0..length {
                    contents.certificates.push(reader.certificate(version)?);
                    if contents.certificates.len() > MAX_OBJECTS {
                        return Err(FormatError::TooLarge(format!("more than {MAX_OBJECTS} certificates")));
                    }
                }
            }
            2 => trusted.push(reader.certificate(version)?),
            other => return Err(damaged(&format!("an entry has the unknown tag {other}"))),
        }
    }
    contents.certificates.extend(trusted);
    if !reader.0.is_empty() {
        return Err(damaged("data follows the last entry"));
    }
    Ok(contents)
}

/// Writes a store with one key (PKCS#8 DER) and its chain, leaf first. `now` is in seconds since 1970.
///
/// # Errors
///
/// [`FormatError::Unwritable`] when the name is longer than 65,535 bytes or no salt can be had.
pub fn write(
    name: &str,
    chain: &[CertificateDer<'_>],
    pkcs8: &[u8],
    password: &str,
    now: u64,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let password = utf16(password);
    let mut out = Zeroizing::new(Vec::new());
    header(&mut out, 1);
    entry(&mut out, 1, name, now)?;
    block(&mut out, &seal(pkcs8, &password)?);
    out.extend((chain.len() as u32).to_be_bytes());
    for der in chain {
        certificate(&mut out, der);
    }
    finish(out, &password)
}

/// Writes a store of trusted authorities, each under its name. `now` is in seconds since 1970.
///
/// # Errors
///
/// [`FormatError::Unwritable`] when a name is longer than 65,535 bytes.
pub fn write_truststore(
    authorities: &[(String, CertificateDer<'_>)],
    password: &str,
    now: u64,
) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let mut out = Zeroizing::new(Vec::new());
    header(&mut out, authorities.len());
    for (name, der) in authorities {
        entry(&mut out, 2, name, now)?;
        certificate(&mut out, der);
    }
    finish(out, &utf16(password))
}

fn header(out: &mut Vec<u8>, entries: usize) {
    out.extend(MAGIC.to_be_bytes());
    out.extend(2_u32.to_be_bytes());
    out.extend((entries as u32).to_be_bytes());
}

fn entry(out: &mut Vec<u8>, tag: u32, name: &str, now: u64) -> Result<(), FormatError> {
    // Java compares aliases in lower case, and its modified UTF-8 differs from UTF-8 beyond these.
    let name: String = name.to_lowercase().chars().filter(|c| *c != '\0' && (*c as u32) < 0x1_0000).collect();
    let length = u16::try_from(name.len())
        .map_err(|_| FormatError::Unwritable("the name is too long for a JKS store".to_owned()))?;
    out.extend(tag.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(name.as_bytes());
    out.extend(now.saturating_mul(1000).to_be_bytes());
    Ok(())
}

fn block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

fn certificate(out: &mut Vec<u8>, der: &[u8]) {
    out.extend(5_u16.to_be_bytes());
    out.extend(b"X.509");
    block(out, der);
}

fn finish(mut out: Zeroizing<Vec<u8>>, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, FormatError> {
    let sum = sum(password, &out);
    out.extend(sum);
    Ok(out)
}

fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(password.encode_utf16().flat_map(u16::to_be_bytes).collect())
}

fn sum(password: &[u8], body: &[u8]) -> Vec<u8> {
    sha1(&[password, SALT, body])
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// The key stream: SHA-1 over the password and the block before; the first block is the salt.
fn cipher(data: &[u8], salt: &[u8], password: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(data.len()));
    let mut last = Zeroizing::new(salt.to_vec());
    for chunk in data.chunks(DIGEST) {
        last = Zeroizing::new(sha1(&[password, &last]));
        out.extend(chunk.iter().zip(last.iter()).map(|(byte, mask)| byte ^ mask));
    }
    out
}

fn seal(pkcs8: &[u8], password: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut salt = [0; DIGEST];
    aws_lc_rs::rand::fill(&mut salt)
        .map_err(|_| FormatError::Unwritable("the system gives no random numbers".to_owned()))?;
    let mut sealed = salt.to_vec();
    sealed.extend(cipher(pkcs8, &salt, password).iter());
    sealed.extend(sha1(&[password, pkcs8]));
    let algorithm = wrap(SEQUENCE, &[wrap(OID, PROTECTOR), vec![0x05, 0x00]].concat());
    Ok(wrap(SEQUENCE, &[algorithm, wrap(OCTETS, &sealed)].concat()))
}

fn open(sealed: &[u8], password: &[u8]) -> Result<KeyDer, FormatError> {
    let body = take(sealed, SEQUENCE).and_then(|(body, _)| {
        let (algorithm, rest) = take(body, SEQUENCE)?;
        let (oid, _) = take(algorithm, OID)?;
        Some((oid, take(rest, OCTETS)?.0))
    });
    let Some((oid, octets)) = body else { return Err(damaged("an encrypted key is malformed")) };
    if oid != PROTECTOR {
        return Err(FormatError::Unsupported("a key of the store is protected in an unknown way".to_owned()));
    }
    if octets.len() < 2 * DIGEST {
        return Err(damaged("an encrypted key is cut off"));
    }
    let (salt, rest) = octets.split_at(DIGEST);
    let (data, check) = rest.split_at(rest.len() - DIGEST);
    let plain = cipher(data, salt, password);
    verify_slices_are_equal(&sha1(&[password, &plain]), check).map_err(|_| {
        FormatError::Unsupported(
            "a key of the store has a password of its own, other than the store's".to_owned(),
        )
    })?;
    Ok(KeyDer(plain))
}

fn damaged(what: &str) -> FormatError {
    FormatError::Damaged { format: Format::Jks, what: what.to_owned() }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| damaged("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u32, FormatError> {
        Ok(self.take(bytes)?.iter().fold(0, |number, &byte| (number << 8) | u32::from(byte)))
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.number(4)
    }

    fn block(&mut self) -> Result<&'a [u8], FormatError> {
        let length = self.number(4)? as usize;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, FormatError> {
        let length = self.number(2)? as usize;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn certificate(&mut self, version: u32) -> Result<CertificateDer<'static>, FormatError> {
        if version == 2 {
            let kind = self.text()?;
            if kind != "X.509" {
                return Err(FormatError::Unsupported(
                    "the store holds a certificate that is not X.509".to_owned(),
                ));
            }
        }
        Ok(CertificateDer::from(self.block()?.to_vec()))
    }
}

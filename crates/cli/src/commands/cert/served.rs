//! The chain that a server sends, taken by a real handshake that trusts nothing and sends nothing else.
//!
//! Also when verification would fail: that is when a person wants to see it. STARTTLS is spoken for the
//! protocols that begin in the clear.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::ValueEnum;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// How long one step (connecting, an answer) may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Protocols that begin in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StartTls {
    /// Mail between servers and submission (RFC 3207).
    Smtp,
    /// Reading mail (RFC 2595).
    Imap,
    /// Fetching mail (RFC 2595).
    Pop3,
    /// Files (RFC 4217).
    Ftp,
    /// Directories (RFC 4511, section 4.14).
    Ldap,
    /// PostgreSQL's SSLRequest.
    Postgres,
}

/// What a server sent.
pub struct Served {
    /// Leaf first, as sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// The negotiated version, as `TLSv1.3`; `None` when the handshake broke off after the certificate.
    pub version: Option<String>,
    /// The negotiated cipher suite.
    pub cipher: Option<String>,
    /// Why the handshake did not finish, when it did not: a server may insist on a client certificate.
    pub unfinished: Option<String>,
    /// Whether the server proved, by signing this handshake, that it has the key of the leaf.
    pub proof: Result<(), String>,
}

/// Whether the text is an address rather than a file: `host:port`, `[::1]:443`.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
}

/// The host of `host:port`.
pub fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']'])
}

/// Connects to `host:port`, asks for `name` (else the host) and records the chain.
pub fn take(address: &str, name: Option<&str>, starttls: Option<StartTls>) -> Result<Served, String> {
    let name = name.unwrap_or(host_of(address));
    let server = ServerName::try_from(name.to_owned()).map_err(|_| format!("{name:?} is no server name"))?;
    let targets: Vec<_> = address
        .to_socket_addrs()
        .map_err(|error| format!("{address} cannot be resolved: {error}"))?
        .collect();
    let mut stream = Err("the name has no address".to_owned());
    for target in targets {
        stream = TcpStream::connect_timeout(&target, PATIENCE).map_err(|error| format!("{target}: {error}"));
        if stream.is_ok() {
            break;
        }
    }
    let mut stream = stream?;
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&stream, Some(PATIENCE)).map_err(|error| error.to_string())?;
    }
    if let Some(protocol) = starttls {
        ask(&mut stream, protocol).map_err(|error| format!("STARTTLS failed: {error}"))?;
    }
    handshake(stream, server)
}

fn handshake(mut stream: TcpStream, server: ServerName<'static>) -> Result<Served, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let recorder =
        Arc::new(Recorder { chain: Mutex::default(), proof: Mutex::default(), provider: provider.clone() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(recorder.clone())
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), server).map_err(|error| error.to_string())?;
    let mut unfinished = None;
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut stream) {
            unfinished = Some(error.to_string());
            break;
        }
    }
    tls.send_close_notify();
    let _ = tls.complete_io(&mut stream);
    let chain = recorder.chain.lock().map(|chain| chain.clone()).unwrap_or_default();
    let proof = recorder.proof.lock().ok().and_then(|mut proof| proof.take());
    let proof = proof
        .unwrap_or_else(|| Err("the server signed nothing, so that anybody may have sent this chain".into()));
    match (chain.is_empty(), unfinished) {
        (true, why) => Err(format!(
            "the server sent no certificate: {}",
            why.as_deref().unwrap_or("it closed the connection")
        )),
        (false, unfinished) => Ok(Served {
            chain,
            version: tls.protocol_version().map(|version| format!("{version:?}").replace('_', ".")),
            cipher: tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
            unfinished,
            proof,
        }),
    }
}

/// Keeps the chain and lets every handshake pass: nothing is sent over such a connection.
#[derive(Debug)]
struct Recorder {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    proof: Mutex<Option<Result<(), String>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut chain) = self.chain.lock() {
            chain.push(leaf.clone().into_owned());
            chain.extend(intermediates.iter().map(|cert| cert.clone().into_owned()));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.record(rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.record(rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        // A server with an old certificate must not keep it back from us.
        schemes.extend([SignatureScheme::RSA_PKCS1_SHA1, SignatureScheme::ECDSA_SHA1_Legacy]);
        schemes
    }
}

impl Recorder {
    /// Keeps what was found, and goes on: whoever only looks wants to see the rest too.
    fn record(
        &self,
        found: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if let Ok(mut proof) = self.proof.lock() {
            *proof = Some(found.map(|_| ()).map_err(|error| {
                format!("the server's signature in the handshake is not of this certificate's key: {error}")
            }));
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// Speaks the protocol up to the point where TLS begins.
fn ask(stream: &mut TcpStream, protocol: StartTls) -> std::io::Result<()> {
    match protocol {
        StartTls::Smtp => {
            talk(stream, "", "2", true)?;
            talk(stream, "EHLO handfast.invalid\r\n", "2", true)?;
            talk(stream, "STARTTLS\r\n", "2", true)
        }
        StartTls::Imap => {
            talk(stream, "", "* OK", false)?;
            talk(stream, "a STARTTLS\r\n", "a OK", false)
        }
        StartTls::Pop3 => {
            talk(stream, "", "+OK", false)?;
            talk(stream, "STLS\r\n", "+OK", false)
        }
        StartTls::Ftp => {
            talk(stream, "", "2", true)?;
            talk(stream, "AUTH TLS\r\n", "2", true)
        }
        StartTls::Ldap => {
            // LDAPMessage { 1, ExtendedRequest { 1.3.6.1.4.1.1466.20037 } }
            let mut request = vec![0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16];
            request.extend(b"1.3.6.1.4.1.1466.20037");
            stream.write_all(&request)?;
            let mut answer = [0; 256];
            let length = stream.read(&mut answer)?;
            // ExtendedResponse with resultCode success: ENUMERATED 0.
            if answer[..length].windows(3).any(|window| window == [0x0a, 0x01, 0x00]) {
                Ok(())
            } else {
                Err(std::io::Error::other("the directory refuses StartTLS"))
            }
        }
        StartTls::Postgres => {
            stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            if answer == *b"S" { Ok(()) } else { Err(std::io::Error::other("the database refuses TLS")) }
        }
    }
}

/// Sends a line and reads answers until one is final; `coded` answers go on while a dash follows the code.
fn talk(stream: &mut TcpStream, line: &str, good: &str, coded: bool) -> std::io::Result<()> {
    stream.write_all(line.as_bytes())?;
    // One byte at a time: what follows the answer belongs to TLS.
    let mut reader = BufReader::with_capacity(1, stream);
    for _ in 0..100 {
        let mut answer = Vec::new();
        (&mut reader).take(4096).read_until(b'\n', &mut answer)?;
        let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
        if answer.is_empty() {
            return Err(std::io::Error::other("the server closed the connection"));
        }
        let goes_on = coded && answer.as_bytes().get(3) == Some(&b'-');
        let untagged = line.starts_with("a ") && answer.starts_with("* ");
        if goes_on || untagged {
            continue;
        }
        return if answer.starts_with(good) {
            Ok(())
        } else {
            Err(std::io::Error::other(format!(
                "the server answers {:?}",
                answer.chars().take(80).collect::<String>()
            )))
        };
    }
    Err(std::io::Error::other("the server does not stop talking"))
}

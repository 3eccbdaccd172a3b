//! A Secret as kubelet mounts it, and the settings that `handfast kube configure` prints for it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::handfast::{eventually, run};
use testkit::pki::{Authority, Issued, SanType};
use testkit::program::Program;

/// Two authorities, and the folders of a server and a client.
pub struct Place {
    folder: tempfile::TempDir,
    pub ours: Authority,
    pub other: Authority,
    /// Group of the mounted files, as with a pod's fsGroup.
    group: Option<u32>,
}

/// Whose certificates a mounted folder holds.
#[derive(Clone, Copy)]
pub enum Whose {
    Ours,
    Other,
}

impl Place {
    pub fn new() -> Self {
        Self::with_group(None)
    }

    /// The mounted files belong to root and this group, which may read them.
    pub fn with_group(group: Option<u32>) -> Self {
        let folder = tempfile::Builder::new().prefix("hfc").tempdir().unwrap();
        // Programs that leave root's account have to reach their files.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let place = Self { folder, ours: Authority::root("ours"), other: Authority::root("other"), group };
        place.mount("server", &place.server(Whose::Ours), &place.ours);
        place.mount("client", &place.client(Whose::Ours), &place.ours);
        // A client of another authority that does trust our servers, and a server of another that trusts our clients.
        place.mount("other-client", &place.client(Whose::Other), &place.ours);
        place.mount("other-server", &place.server(Whose::Other), &place.ours);
        place
    }

    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    fn authority(&self, whose: Whose) -> &Authority {
        match whose {
            Whose::Ours => &self.ours,
            Whose::Other => &self.other,
        }
    }

    pub fn server(&self, whose: Whose) -> Issued {
        self.authority(whose).leaf("server", |params| {
            params.extended_key_usages = vec![testkit::pki::ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![
                SanType::DnsName("localhost".try_into().unwrap()),
                SanType::URI("spiffe://cluster.local/ns/local/sa/server".try_into().unwrap()),
            ];
        })
    }

    fn client(&self, whose: Whose) -> Issued {
        self.authority(whose).client("client", "client", |_| {})
    }

    /// Writes a pair as kubelet does: a new folder, then the link ..data moved over the old one.
    pub fn mount(&self, name: &str, issued: &Issued, trusted: &Authority) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mount = self.dir().join(name);
        let new = format!("..{}", NEXT.fetch_add(1, Ordering::Relaxed));
        std::fs::create_dir_all(mount.join(&new)).unwrap();
        let written = issued.write(&mount.join(&new), "pair");
        std::fs::rename(written.chain, mount.join(&new).join("tls.crt")).unwrap();
        std::fs::rename(written.key, mount.join(&new).join("tls.key")).unwrap();
        std::fs::write(mount.join(&new).join("ca.crt"), trusted.pem()).unwrap();
        for file in std::fs::read_dir(mount.join(&new)).unwrap() {
            let path = file.unwrap().path();
            if let Some(group) = self.group {
                std::os::unix::fs::chown(&path, Some(0), Some(group)).unwrap();
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o440)).unwrap();
            }
        }
        symlink(&new, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            let link = mount.join(file);
            if !link.is_symlink() {
                symlink(Path::new("..data").join(file), link).unwrap();
            }
        }
    }

    /// A renewed server pair is mounted; gives its serial number.
    pub fn renew_server(&self) -> String {
        let renewed = self.server(Whose::Ours);
        self.mount("server", &renewed, &self.ours);
        renewed.serial
    }

    /// Writes what is printed for these mounts into a folder of its own, and gives that folder.
    pub fn print(
        &self,
        application: &str,
        server: &str,
        client: &str,
        listen: u16,
        upstream: &str,
    ) -> PathBuf {
        let printed = self.document(application, server, client, listen, upstream);
        let folder = self.dir().join(format!("{application}-{server}-{client}-{listen}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in printed["files"].as_array().unwrap() {
            let path = folder.join(file["name"].as_str().unwrap());
            std::fs::write(path, file["text"].as_str().unwrap()).unwrap();
        }
        folder
    }

    /// What `-o json` prints.
    pub fn document(
        &self,
        application: &str,
        server: &str,
        client: &str,
        listen: u16,
        upstream: &str,
    ) -> Value {
        let path = |name: &str| self.dir().join(name).display().to_string();
        let (server, client, listen) = (path(server), path(client), listen.to_string());
        let arguments = [
            "kube",
            "configure",
            "--for",
            application,
            "--server-dir",
            &server,
            "--client-dir",
            &client,
            "--listen",
            &listen,
            "--upstream",
            upstream,
            "-o",
            "json",
        ];
        let done = run(testkit::binary!(), self.dir(), &arguments);
        assert_eq!(done.code, Some(0), "{}", done.all());
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

/// What an openssl client with the certificate of this mount saw.
pub struct Peek {
    /// The server went on after it had seen the client's certificate (or that there is none).
    pub accepted: bool,
    /// The serial number of the server's certificate.
    pub serial: String,
    pub text: String,
}

/// Connects with `openssl s_client`, sends `words`, and reads until `answer` comes, or to the end.
pub fn peek(
    place: &Place,
    port: u16,
    client: Option<&str>,
    starttls: Option<&str>,
    (words, answer): (&str, &str),
) -> Peek {
    let alpn = if words.starts_with("PRI ") { "h2" } else { "http/1.1" };
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-showcerts", "-connect", &format!("127.0.0.1:{port}")]);
    command.args(["-servername", "localhost", "-alpn", alpn]);
    if let Some(client) = client {
        let file = |name: &str| place.dir().join(client).join(name);
        command.arg("-cert").arg(file("tls.crt")).arg("-key").arg(file("tls.key"));
    }
    if let Some(protocol) = starttls {
        command.args(["-starttls", protocol]);
    }
    let mut program = Program::start(&mut command);
    program.write(words.as_bytes());
    program.close_stdin();
    let came = eventually(Duration::from_secs(20), || {
        program.stdout().contains(answer) || program.ended().is_some()
    });
    let text = program.finish(Duration::ZERO).all();
    // The server's word on a client's certificate comes after a TLS 1.3 handshake: only an answer is a yes.
    Peek { accepted: came && text.contains(answer), serial: serial(&text), text }
}

fn serial(text: &str) -> String {
    let Some(start) = text.find("-----BEGIN CERTIFICATE") else { return String::new() };
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-serial"]);
    let done = Program::run(&mut command, &text.as_bytes()[start..], Duration::from_secs(5));
    done.out().trim().trim_start_matches("serial=").trim_start_matches('0').to_ascii_lowercase()
}

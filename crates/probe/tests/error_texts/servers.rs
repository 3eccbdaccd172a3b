//! The servers that programs fail at: one nginx with a port for each fault, and `openssl s_server`.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints, SanType};
use testkit::nginx::Nginx;
use testkit::pki::{Authority, Pki};
use testkit::program::Program;
use testkit::{find_program, free_port};

/// Ports of nginx, each with one thing wrong.
pub struct Ports {
    pub good: u16,
    pub plain: u16,
    pub only_13: u16,
    pub rejecting: u16,
    pub proxied: u16,
    pub verifying: u16,
    pub verifying_crl: u16,
    pub faults: Vec<(&'static str, u16)>,
}

/// Server certificates with one fault each, written as `srv-NAME.crt`.
pub fn server_certificates(pki: &Pki) -> Vec<&'static str> {
    let day = time::Duration::DAY;
    let now = time::OffsetDateTime::now_utc();
    let site = &pki.site;
    let localhost = || SanType::DnsName("localhost".try_into().unwrap());
    type Edit<'a> = &'a dyn Fn(&mut rcgen::CertificateParams);
    let leaf = |authority: &Authority, name: &'static str, edit: Edit<'_>| {
        let issued = authority.leaf("localhost", |params| {
            params.subject_alt_names = vec![localhost()];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            edit(params);
        });
        issued.write(pki.dir(), name);
        name
    };
    let short =
        site.intermediate("Site short", |p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0)));
    let below = short.intermediate("Site below", |_| {});
    let constrained = site.intermediate("Site constrained", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("permitted.test".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let issuing = site.intermediate("Site issuing", |_| {});
    let none: Edit<'_> = &|_| {};
    let names = vec![
        leaf(site, "srv-expired", &|p| (p.not_before, p.not_after) = (now - day * 20, now - day)),
        leaf(site, "srv-not-yet-valid", &|p| (p.not_before, p.not_after) = (now + day, now + day * 20)),
        leaf(site, "srv-no-san", &|p| p.subject_alt_names.clear()),
        leaf(site, "srv-wrong-usage", &|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        leaf(site, "srv-critical", &|p| {
            let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 2], vec![5, 0]);
            unknown.set_criticality(true);
            p.custom_extensions.push(unknown);
        }),
        leaf(&below, "srv-path-length", none),
        leaf(&constrained, "srv-constraint", none),
        leaf(&issuing, "srv-bare", none),
    ];
    // The leaf alone, where its intermediate belongs with it.
    let whole = std::fs::read_to_string(pki.file("srv-bare.crt")).unwrap();
    let end = whole.find("-----END").unwrap();
    let leaf = &whole[..end + whole[end..].find('\n').unwrap() + 1];
    std::fs::write(pki.file("srv-bare.crt"), leaf).unwrap();
    // The root is sent along, and not known to who trusts `other.pem`.
    let rooted = std::fs::read_to_string(pki.file("server.crt")).unwrap() + &site.pem();
    std::fs::write(pki.file("srv-rooted.crt"), rooted).unwrap();
    std::fs::copy(pki.file("server.key"), pki.file("srv-rooted.key")).unwrap();
    let make =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9"];
    let files = ["-keyout", "srv-self-signed.key", "-out", "srv-self-signed.crt"];
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    let mut command = Command::new(find_program("openssl").unwrap());
    let made = command.args(make).args(files).args(subject).current_dir(pki.dir()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    [names, vec!["srv-rooted", "srv-self-signed"]].concat()
}

/// Starts nginx with all of it.
pub fn nginx(pki: &Pki) -> Option<(Nginx, Ports)> {
    let faults: Vec<_> = server_certificates(pki).into_iter().map(|name| (name, free_port())).collect();
    let ports = Ports {
        good: free_port(),
        plain: free_port(),
        only_13: free_port(),
        rejecting: free_port(),
        proxied: free_port(),
        verifying: free_port(),
        verifying_crl: free_port(),
        faults,
    };
    let dir = pki.dir().display();
    let ours = format!("ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key;");
    let verify =
        format!("ssl_client_certificate {dir}/clients.pem; ssl_verify_client on; ssl_verify_depth 5;");
    let mut content = String::from("ssl_protocols TLSv1.2 TLSv1.3;\n");
    let mut add = |port: u16, words: &str, rest: &str| {
        content.push_str(&format!(
            "server {{ listen 127.0.0.1:{port} {words}; server_name localhost; {rest} location / {{ return 200 ok; }} }}\n"
        ));
    };
    add(ports.good, "ssl", &ours);
    add(ports.plain, "", "");
    add(ports.only_13, "ssl", &format!("{ours} ssl_protocols TLSv1.3;"));
    add(ports.rejecting, "ssl", "ssl_reject_handshake on;");
    add(ports.proxied, "ssl proxy_protocol", &ours);
    add(ports.verifying, "ssl", &format!("{ours} {verify}"));
    add(ports.verifying_crl, "ssl", &format!("{ours} {verify} ssl_crl {dir}/clients.crl;"));
    for (name, port) in &ports.faults {
        add(
            *port,
            "ssl",
            &format!("ssl_certificate {dir}/{name}.crt; ssl_certificate_key {dir}/{name}.key;"),
        );
    }
    Some((Nginx::http(&content, ports.good)?, ports))
}

/// What nginx says about this main-level configuration, which it must not like.
pub fn nginx_check(pki: &Pki, http: &str) -> String {
    let file = pki.file("check.conf");
    std::fs::write(&file, format!("pid {}/n.pid; events {{}}\nhttp {{ {http} }}\n", pki.dir().display()))
        .unwrap();
    let Some(nginx) = find_program("nginx") else { return String::new() };
    let mut command = Command::new(nginx);
    command
        .args(["-g", "daemon off; master_process off;", "-e", "stderr", "-p"])
        .arg(pki.dir())
        .arg("-c")
        .arg(&file);
    Program::run(&mut command, b"", Duration::from_secs(5)).all()
}

/// A running `openssl s_server` with the good server certificate; its port.
pub fn s_server(pki: &Pki, arguments: &[&str]) -> (Program, u16) {
    let port = free_port();
    let mut command = Command::new(find_program("openssl").unwrap());
    command.args(["s_server", "-accept", &port.to_string(), "-cert", "server.crt", "-key", "server.key"]);
    command.args(arguments).current_dir(pki.dir());
    let mut server = Program::start(&mut command);
    server.wait_for("ACCEPT", Duration::from_secs(10), |p| p.stdout().contains("ACCEPT"));
    (server, port)
}

/// A port on which every connection is closed at once, or taken and never answered.
pub fn mute(closes: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            if closes {
                // What the client has said is read first, so that it is told of an end and not of a reset.
                use std::io::Read as _;
                let _ = (&stream).read(&mut [0; 4096]);
            } else {
                held.push(stream);
            }
        }
    });
    port
}

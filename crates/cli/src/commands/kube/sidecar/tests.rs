use super::*;

fn args(inbound: &[&str], outbound: &[&str]) -> Args {
    Args {
        inbound: inbound.iter().map(|text| text.parse().unwrap()).collect(),
        outbound: outbound.iter().map(|text| text.parse().unwrap()).collect(),
        server_dir: SERVER_MOUNT.into(),
        client_dir: CLIENT_MOUNT.into(),
        lists_dir: LISTS_MOUNT.into(),
        ready_port: 15021,
        admin: SocketAddr::from(([127, 0, 0, 1], 15000)),
        drain_timeout: "20s".parse().unwrap(),
        log_format: None,
    }
}

#[test]
fn what_comes_in_needs_a_certificate_and_what_goes_out_shows_one() {
    let made = snapshot(&args(&["8443=http:8080"], &["127.0.0.2:80=db.shop.svc:5432"]), &[]);
    let Ok(made) = made else { panic!("a good plan is refused") };
    let inbound = &made.listeners[0];
    let clients = inbound.tls.as_ref().unwrap().clients.as_ref().unwrap();
    assert_eq!(clients.mode, model::policy::ClientMode::Required);
    assert_eq!(clients.ca, [Path::new("/etc/handfast/server/ca.crt")]);
    let called = made.services["out-127.0.0.2:80"].tls.as_ref().unwrap();
    assert!(called.verify && called.certificate.is_some());
    assert_eq!(called.name.as_deref(), Some("db.shop.svc"));
    // Plain text is spoken on loopback only, apart from the word for the kubelet.
    for listener in made.listeners.iter().filter(|listener| listener.tls.is_none()) {
        let on_loopback = |bind: &Bind| matches!(bind, Bind::Socket(address) if address.ip().is_loopback());
        assert!(listener.name == "ready" || listener.bind.iter().all(on_loopback), "{}", listener.name);
    }
}

#[test]
fn lists_that_are_there_are_asked_in_both_directions() {
    let lists = [PathBuf::from("/etc/handfast/lists/crl.pem")];
    let made = snapshot(&args(&["8443=http:8080"], &["127.0.0.2:80=db.shop.svc:5432"]), &lists);
    let Ok(made) = made else { panic!("a good plan is refused") };
    let clients = made.listeners[0].tls.as_ref().unwrap().clients.as_ref().unwrap();
    assert_eq!(
        (clients.crl.as_slice(), clients.revocation()),
        (&lists[..], model::policy::Revocation::Require)
    );
    assert_eq!(made.services["out-127.0.0.2:80"].tls.as_ref().unwrap().crl, lists);
}

#[test]
fn what_would_open_the_pod_is_refused() {
    assert!("0.0.0.0:80=db:5432".parse::<Outbound>().unwrap_err().contains("identity"));
    assert!("8080=http:8080".parse::<Inbound>().unwrap_err().contains("itself"));
    for wrong in ["8443", "8443=8080", "8443=http:", "0=http:80", "8443=udp:53", "70000=tcp:1"] {
        assert!(wrong.parse::<Inbound>().unwrap_err().contains("LISTEN=KIND:PORT"), "{wrong}");
    }
    for wrong in ["127.0.0.2=db:1", "127.0.0.2:80", "127.0.0.2:80=db", "127.0.0.2:80=:80", "x:1=y:2"] {
        assert!(wrong.parse::<Outbound>().unwrap_err().contains("ADDR=HOST:PORT"), "{wrong}");
    }
    assert!(snapshot(&args(&[], &[]), &[]).is_err());
}

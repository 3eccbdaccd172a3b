//! Redirected connections and foreign addresses, in real network namespaces with real connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use handfast_sys::redirection::Exceptions;
use handfast_sys::{From, Namespace, Outgoing, Redirection, listen, original_destination, outgoing};
use testkit::network::{Network, Place};

fn enter(place: &Place) -> Namespace {
    Namespace::open(&place.path()).unwrap()
}

/// A connection that was made in a namespace; it is waited for only so long.
fn connect(namespace: &Namespace, to: SocketAddr, how: Outgoing) -> std::io::Result<TcpStream> {
    namespace
        .run(move || {
            let socket = socket2::Socket::from(outgoing(to, &how)?);
            socket.set_nonblocking(false)?;
            socket.connect_timeout(&to.into(), Duration::from_secs(3))?;
            socket.set_read_timeout(Some(Duration::from_secs(3)))?;
            Ok(socket.into())
        })
        .unwrap()
}

fn listener(namespace: &Namespace, port: u16) -> TcpListener {
    namespace.run(move || listen(port)).unwrap().unwrap()
}

fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    listener.set_nonblocking(true).unwrap();
    for _ in 0..300 {
        match listener.accept() {
            Ok((socket, from)) => {
                socket.set_nonblocking(false).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                return (socket, SocketAddr::new(from.ip().to_canonical(), from.port()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("nobody came");
}

fn says(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).unwrap();
    let mut got = vec![0; text.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, text.as_bytes());
}

fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}

const MARKED: Outgoing = Outgoing { mark: Some(1337), from: From::Any };

#[test]
fn calls_go_to_the_proxy_which_knows_where_they_wanted_to() {
    let Some(network) = Network::start() else { return };
    let (pod, other) = (network.pod(2), network.pod(3));
    let (inside, outside) = (enter(&pod), enter(&other));
    let redirection = Redirection {
        outbound: Exceptions {
            ports: vec![53, 3306],
            subnets: vec!["10.77.0.1".parse().unwrap(), "fd77::1".parse().unwrap()],
        },
        ..Redirection::default()
    };
    inside.run(move || redirection.apply()).unwrap().unwrap();
    let (proxy, server) = (listener(&inside, 15001), listener(&outside, 8080));
    for ip in other.addresses() {
        let wanted = at(ip, 8080);
        let _client = connect(&inside, wanted, Outgoing::default()).unwrap();
        let (taken, from) = accept(&proxy);
        assert_eq!(original_destination(&taken).unwrap(), Some(wanted));
        assert!(pod.addresses().contains(&from.ip()), "{from}");
        // The proxy's own go out as they are.
        let _own = connect(&inside, wanted, MARKED).unwrap();
        assert_eq!(accept(&server).1.ip().is_ipv4(), ip.is_ipv4());
        // Somebody who names the proxy's socket was not redirected.
        let itself = pod.addresses()[usize::from(ip.is_ipv6())];
        let _direct = connect(&inside, at(itself, 15001), Outgoing::default()).unwrap();
        assert_eq!(original_destination(accept(&proxy).0).unwrap(), None);
    }
    // What is excepted goes its own way: here nobody listens.
    for excepted in
        [at(other.v4.into(), 3306), at(network.node().v4.into(), 80), at(network.node().v6.into(), 80)]
    {
        let error = connect(&inside, excepted, Outgoing::default()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{excepted}");
    }
    // Loopback and the pod's own addresses stay in the pod.
    let own = listener(&inside, 8081);
    for ip in [pod.v4.into(), pod.v6.into(), "127.0.0.1".parse().unwrap(), "::1".parse().unwrap()] {
        let _client = connect(&inside, at(ip, 8081), Outgoing::default()).unwrap();
        accept(&own);
    }
    // Without a proxy nothing goes out (that is: it fails closed).
    drop(proxy);
    // A process that another test is starting has the listener for a moment, until it becomes another program.
    let end = Instant::now() + Duration::from_secs(5);
    let error = loop {
        match connect(&inside, at(other.v4.into(), 8080), Outgoing::default()) {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < end, "somebody takes the pod's calls"),
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn only_networks_that_are_named_go_through_the_proxy_and_the_proxys_user_does_not() {
    let Some(network) = Network::start() else { return };
    let (pod, other, far) = (network.pod(2), network.pod(3), network.pod(4));
    let inside = enter(&pod);
    let redirection = Redirection {
        proxy_uid: Some(1337),
        only_outbound_subnets: vec![format!("{}/32", other.v4).parse().unwrap()],
        ..Redirection::default()
    };
    inside.run(move || redirection.apply()).unwrap().unwrap();
    let proxy = listener(&inside, 15001);
    let server = listener(&enter(&far), 8080);
    let _client = connect(&inside, at(far.v4.into(), 8080), Outgoing::default()).unwrap();
    accept(&server);
    let _client = connect(&inside, at(other.v4.into(), 8080), Outgoing::default()).unwrap();
    accept(&proxy);
    let url = format!("http://{}:8080/", other.v4);
    let mut curl = pod.command("setpriv");
    curl.args(["--reuid", "1337", "--clear-groups", "curl", "-sS", "--max-time", "3", &url]);
    let refused = curl.output().unwrap();
    assert_eq!(refused.status.code(), Some(7), "it went there itself, where nobody listens: {refused:?}");
}

#[test]
fn an_application_sees_its_clients_address_and_its_answers_come_to_the_proxy() {
    let Some(network) = Network::start() else { return };
    let (pod, other) = (network.pod(2), network.pod(3));
    let (inside, outside) = (enter(&pod), enter(&other));
    // As strict as a node may be with addresses that come from where they do not belong.
    for interface in ["all", "default", "lo", "eth0"] {
        let strict = format!("echo 1 > /proc/sys/net/ipv4/conf/{interface}/rp_filter");
        pod.run("sh", &["-c", &strict]);
    }
    inside.run(|| Redirection::default().apply()).unwrap().unwrap();
    let (proxy, application) = (listener(&inside, 15006), listener(&inside, 8080));
    for n in 0..2 {
        let (target, client) = (at(pod.addresses()[n], 8080), other.addresses()[n]);
        let mut caller = connect(&outside, target, Outgoing::default()).unwrap();
        let (mut arrived, from) = accept(&proxy);
        assert_eq!((original_destination(&arrived).unwrap(), from.ip()), (Some(target), client));
        let how = Outgoing { mark: Some(1337), from: From::Foreign(client) };
        let mut forward = connect(&inside, target, how).unwrap();
        let (mut served, seen) = accept(&application);
        assert_eq!(seen.ip(), client, "the application sees its client");
        says(&mut forward, &mut served, "request");
        says(&mut served, &mut forward, "answer");
        says(&mut caller, &mut arrived, "another");
        // The application ends first: its side is over when the proxy says so.
        drop(served);
        assert_eq!(forward.read(&mut [0]).unwrap(), 0);
        // An application that is away is a refusal at once, not a silence.
        let away = connect(&inside, at(target.ip(), 8089), how).unwrap_err();
        assert_eq!(away.kind(), std::io::ErrorKind::ConnectionRefused);
        // Without the mark, what is sent for a stranger's address leaves the pod, and nothing is open.
        let unmarked = Outgoing { mark: None, from: From::Foreign(client) };
        assert!(connect(&inside, target, unmarked).is_err());
    }
    // Tunnels, metrics and readiness arrive themselves.
    for port in [15008, 15020, 15021] {
        let own = listener(&inside, port);
        let _caller = connect(&outside, at(pod.v4.into(), port), Outgoing::default()).unwrap();
        accept(&own);
    }
    // Somebody outside who names the proxy's ports gets no further than the plain one, which knows it.
    for port in [15001, 15006] {
        let named = at(pod.v4.into(), port);
        let _caller = connect(&outside, named, Outgoing::default()).unwrap();
        let wanted = original_destination(accept(&proxy).0).unwrap();
        assert!(wanted.is_none() || wanted == Some(named), "{wanted:?}");
    }
}

/// A client's connection and the proxy's for it may come to have the same addresses and ports.
#[test]
fn the_proxys_connection_is_not_taken_for_the_clients_own() {
    let Some(network) = Network::start() else { return };
    let (pod, other) = (network.pod(2), network.pod(3));
    let (inside, outside) = (enter(&pod), enter(&other));
    inside.run(|| Redirection::default().apply()).unwrap().unwrap();
    let (proxy, application) = (listener(&inside, 15006), listener(&inside, 8080));
    for n in 0..2 {
        let (target, client) = (at(pod.addresses()[n], 8080), other.addresses()[n]);
        let mut caller = connect(&outside, target, Outgoing::default()).unwrap();
        let (mut arrived, from) = accept(&proxy);
        assert_eq!(from, caller.local_addr().unwrap());
        // As bad as chance can make it: the very port.
        let forward = inside.run(move || {
            let socket =
                socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
            socket.set_mark(1337)?;
            match from {
                SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
            }
            socket.bind(&at(client, from.port()).into())?;
            socket.connect_timeout(&target.into(), Duration::from_secs(3))?;
            Ok::<TcpStream, std::io::Error>(socket.into())
        });
        let mut forward = forward.unwrap().unwrap();
        let (mut served, seen) = accept(&application);
        assert_eq!(seen, from);
        forward.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        says(&mut forward, &mut served, "request");
        says(&mut served, &mut forward, "answer");
        says(&mut caller, &mut arrived, "the client's own goes on");
        says(&mut arrived, &mut caller, "both ways");
    }
}

#[test]
fn connections_that_are_open_live_on_when_rules_come_change_and_are_released() {
    let Some(network) = Network::start() else { return };
    let (pod, other) = (network.pod(2), network.pod(3));
    let (inside, outside) = (enter(&pod), enter(&other));
    let (out, into) = (listener(&outside, 8080), listener(&inside, 8080));
    let open = |from: &Namespace, to: SocketAddr, at: &TcpListener| {
        let client = connect(from, to, Outgoing::default()).unwrap();
        (client, accept(at).0)
    };
    let mut old = Vec::new();
    for n in 0..2 {
        old.push(open(&inside, at(other.addresses()[n], 8080), &out));
        old.push(open(&outside, at(pod.addresses()[n], 8080), &into));
    }
    let go_on = |pairs: &mut [(TcpStream, TcpStream)]| {
        for (client, server) in pairs {
            says(client, server, "there");
            says(server, client, "and back");
        }
    };
    go_on(&mut old);
    inside.run(|| Redirection::default().apply()).unwrap().unwrap();
    go_on(&mut old);
    let (calls, arrivals) = (listener(&inside, 15001), listener(&inside, 15006));
    let mut redirected = Vec::new();
    for n in 0..2 {
        redirected.push(open(&inside, at(other.addresses()[n], 8080), &calls));
        redirected.push(open(&outside, at(pod.addresses()[n], 8080), &arrivals));
    }
    go_on(&mut redirected);
    let other_rules = Redirection { inbound_ports: vec![9999], ..Redirection::default() };
    inside.run(move || other_rules.apply()).unwrap().unwrap();
    go_on(&mut old);
    go_on(&mut redirected);
    inside.run(|| Redirection::default().release()).unwrap().unwrap();
    go_on(&mut old);
    go_on(&mut redirected);
    // New ones go their own way again.
    let mut new =
        [open(&inside, at(other.v4.into(), 8080), &out), open(&outside, at(pod.v4.into(), 8080), &into)];
    inside.run(|| Redirection::default().remove()).unwrap().unwrap();
    go_on(&mut old);
    go_on(&mut new);
}

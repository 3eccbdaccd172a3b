//! Packet rules in real network namespaces; nft(8) and ip(8) are the judges.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use handfast_sys::redirection::{Error, Exceptions};
use handfast_sys::{Namespace, Outgoing, Redirection, listen, original_destination, outgoing};
use testkit::network::{Network, Place};

fn inside<T: Send + 'static>(place: &Place, work: impl FnOnce() -> T + Send + 'static) -> T {
    Namespace::open(&place.path()).unwrap().run(work).unwrap()
}

fn everything() -> Redirection {
    Redirection {
        proxy_uid: Some(1337),
        outbound: Exceptions {
            ports: vec![53, 3306],
            subnets: ["10.96.0.0/12", "192.0.2.7", "0.0.0.0/0", "fd00:1::/33", "::/0", "fd00::5/128"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
        },
        only_outbound_subnets: vec!["10.0.0.0/9".parse().unwrap(), "fd00::/8".parse().unwrap()],
        inbound_ports: vec![9100, 65535],
        probes: vec![("10.77.0.1".parse().unwrap(), 8080), ("fd77::/64".parse().unwrap(), 8081)],
        ..Redirection::default()
    }
}

#[test]
fn the_kernel_has_exactly_the_rules_that_are_described() {
    let Some(network) = Network::start() else { return };
    let (ours, theirs) = (network.pod(2), network.pod(3));
    for redirection in [Redirection::default(), everything()] {
        let file = std::env::temp_dir().join(format!("{}.nft", std::process::id()));
        std::fs::write(&file, redirection.describe()).unwrap();
        theirs.run("nft", &["-f", file.to_str().unwrap()]);
        std::fs::remove_file(file).unwrap();
        inside(&ours, move || redirection.apply()).unwrap();
        let expected = theirs.run("nft", &["-s", "list", "ruleset"]);
        assert_eq!(ours.run("nft", &["-s", "list", "ruleset"]), expected);
        assert!(expected.contains("redirect to :15001") && expected.contains("redirect to :15006"));
        theirs.run("nft", &["flush", "ruleset"]);
    }
    // What the description has as comments is there as well.
    for family in ["-4", "-6"] {
        let rules = ours.run("ip", &[family, "rule"]);
        assert!(rules.contains("1337:\tfrom all fwmark 0x111 lookup 100"), "{rules}");
        let routes = ours.run("ip", &[family, "route", "show", "table", "100"]);
        assert!(routes.contains("local default dev lo"), "{routes}");
    }
}

#[test]
fn applying_again_changes_nothing_and_removing_leaves_nothing() {
    let Some(network) = Network::start() else { return };
    let pod = network.pod(2);
    let state = |pod: &Place| {
        let mut state = pod.run("nft", &["list", "ruleset"]);
        for family in ["-4", "-6"] {
            state += &pod.run("ip", &[family, "rule"]);
            state += &pod.run("ip", &[family, "route", "show", "table", "all"]);
        }
        state
    };
    pod.run("nft", &["add", "table", "inet", "somebody"]);
    let before = state(&pod);
    inside(&pod, || Redirection::default().remove()).expect("what is not there is no error");
    assert_eq!(state(&pod), before);
    inside(&pod, || Redirection::default().apply()).unwrap();
    let first = state(&pod);
    inside(&pod, || Redirection::default().apply()).unwrap();
    assert_eq!(state(&pod), first);
    // Other rules take the place of those that were, none of which stays.
    inside(&pod, || everything().apply()).unwrap();
    inside(&pod, || Redirection::default().apply()).unwrap();
    assert_eq!(state(&pod), first);
    inside(&pod, || Redirection::default().release()).unwrap();
    assert!(!state(&pod).contains("redirect to"));
    inside(&pod, || Redirection::default().remove()).unwrap();
    assert_eq!(state(&pod), before);
}

#[test]
fn a_pod_without_ipv6_is_redirected_too() {
    let Some(network) = Network::start() else { return };
    let pod = network.pod(2);
    pod.run("sh", &["-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"]);
    inside(&pod, || Redirection::default().apply()).unwrap();
    assert!(pod.run("nft", &["list", "ruleset"]).contains("redirect to :15001"));
    let wanted = "10.77.0.9:80".parse().unwrap();
    let asked = inside(&pod, move || {
        let proxy = listen(15001)?;
        let socket = socket2::Socket::from(outgoing(wanted, &Outgoing::default())?);
        socket.connect_timeout(&wanted.into(), std::time::Duration::from_secs(3))?;
        original_destination(proxy.accept()?.0)
    });
    assert_eq!(asked.unwrap(), Some(wanted));
    inside(&pod, || Redirection::default().remove()).unwrap();
    assert_eq!(pod.run("nft", &["list", "ruleset"]), "");
}

#[test]
fn the_callers_own_network_is_left_alone() {
    let Some(network) = Network::start() else { return };
    let pod = network.pod(2);
    let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = here();
    let there = inside(&pod, move || std::fs::read_link("/proc/thread-self/ns/net").unwrap());
    assert_ne!(there, before);
    assert_eq!(here(), before);
    let namespace = Namespace::open(&pod.path()).unwrap();
    assert!(namespace.run(|| panic!("one work fails")).is_err());
    assert_eq!(namespace.run(|| 1).unwrap(), 1, "and the next one is done");
    let none = Namespace::open("/proc/self/ns/mnt".as_ref()).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn who_may_not_change_rules_is_told_so_and_what_is_there_stays() {
    let Some(network) = Network::start() else { return };
    let pod = network.pod(2);
    inside(&pod, || everything().apply()).unwrap();
    let before = pod.run("nft", &["list", "ruleset"]);
    let namespace = Namespace::open(&pod.path()).unwrap();
    let refused = namespace.run(|| {
        // This thread alone gives its rights up; it ends with the namespace's.
        let none = rustix::thread::CapabilitySet::empty();
        let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).unwrap();
        Redirection::default().apply()
    });
    let error = refused.unwrap().unwrap_err();
    assert!(
        matches!(&error, Error::Kernel { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied),
        "{error}"
    );
    assert_eq!(pod.run("nft", &["list", "ruleset"]), before);
}

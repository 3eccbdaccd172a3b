use super::*;
use crate::Namespace;
use crate::netlink;
use testkit::network::Network;

#[test]
fn a_redirection_that_contradicts_itself_is_refused_before_anything_is_done() {
    let good = Redirection::default;
    let cases: Vec<(Redirection, &str)> = vec![
        (Redirection { inbound_port: 15001, ..good() }, "calls and arrivals alike"),
        (Redirection { inbound_port: 15008, ..good() }, "port 15008"),
        (Redirection { outbound_port: 0, ..good() }, "port 0"),
        (Redirection { inbound_ports: vec![80, 15006], ..good() }, "cannot be excepted"),
        (Redirection { mark: 0x111, ..good() }, "tell sockets apart"),
        (Redirection { mark: 0, ..good() }, "tell sockets apart"),
        (Redirection { table: 254, ..good() }, "routing table 254"),
        (Redirection { table: 0, ..good() }, "routing table 0"),
        (Redirection { proxy_uid: Some(0), ..good() }, "user 0"),
        (Redirection { inbound_ports: vec![80; 257], ..good() }, "256"),
    ];
    for (redirection, what) in cases {
        let error = redirection.apply().unwrap_err();
        assert!(matches!(&error, Error::Invalid(text) if text.contains(what)), "{what}: {error}");
    }
    good().validate().unwrap();
}

#[test]
fn a_network_is_read_as_written_or_refused() {
    for (text, address, length) in
        [("10.96.0.0/12", "10.96.0.0", 12), ("10.1.2.3", "10.1.2.3", 32), ("fd00::/8", "fd00::", 8)]
    {
        let subnet: Subnet = text.parse().unwrap();
        assert_eq!((subnet.address().to_string().as_str(), subnet.length()), (address, length));
    }
    for wrong in
        ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "fd00::1/64", "x/8", "10.0.0.0/-1"]
    {
        assert_eq!(wrong.parse::<Subnet>(), Err(NotASubnet(wrong.to_owned())), "{wrong}");
    }
    let mask = |text: &str| text.parse::<Subnet>().unwrap().mask();
    assert_eq!(mask("10.96.0.0/12"), [0xff, 0xf0, 0, 0]);
    assert_eq!(mask("0.0.0.0/0"), [0; 4]);
    assert_eq!(mask("10.1.2.3"), [0xff; 4]);
    assert_eq!(mask("fd00::/9")[..3], [0xff, 0x80, 0]);
}

#[test]
fn an_answer_of_the_kernel_is_an_error_unless_it_says_that_all_is_done() {
    // Length, type, flags, number, port; the error; the head of the message that it is about.
    let answer = |number: u32, error: i32| {
        let mut bytes = Vec::new();
        bytes.extend(36_u32.to_ne_bytes());
        bytes.extend([2, 0, 0, 0]);
        bytes.extend(number.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(error.to_ne_bytes());
        bytes.resize(36, 0);
        bytes
    };
    assert!(netlink::done(&answer(3, 0), 3).unwrap());
    assert!(!netlink::done(&answer(2, 0), 3).unwrap());
    assert!(netlink::done(&[answer(2, 0), answer(3, 0)].concat(), 3).unwrap());
    let both = [answer(2, -2), answer(3, 0)].concat();
    assert_eq!(netlink::done(&both, 3).unwrap_err().kind(), io::ErrorKind::NotFound);
    for length in 1..36 {
        assert!(netlink::done(&answer(3, 0)[..length], 3).is_err(), "{length}");
    }
    let mut endless = answer(3, 0);
    endless[0] = 0;
    assert!(netlink::done(&endless, 3).is_err());
}

#[test]
fn rules_of_which_the_kernel_refuses_one_are_not_in_force_at_all() {
    let Some(network) = Network::start() else { return };
    let pod = network.pod(2);
    let namespace = Namespace::open(&pod.path()).unwrap();
    namespace.run(|| Redirection::default().apply()).unwrap().unwrap();
    let before = pod.run("nft", &["list", "ruleset"]);
    let refused = namespace.run(|| {
        let mut chains = Redirection { outbound_port: 9, ..Redirection::default() }.chains(true);
        // There is no such kind of chain; it comes last, after all that is well.
        if let Some(chain) = chains.last_mut() {
            chain.kind = "nonsense";
        }
        encode::replace(&chains)
    });
    assert_eq!(refused.unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(pod.run("nft", &["list", "ruleset"]), before);
    // And with them, what was made beside them goes.
    namespace.run(|| Redirection::default().remove()).unwrap().unwrap();
    let rules = pod.run("ip", &["rule"]);
    namespace.run(|| routing::add(&Redirection::default()).unwrap().undo()).unwrap();
    assert_eq!(pod.run("ip", &["rule"]), rules);
}

#[test]
fn what_is_in_force_is_told_from_what_was_released_and_from_nothing() {
    let Some(network) = Network::start() else { return };
    let pod = network.pod(2);
    let namespace = Namespace::open(&pod.path()).unwrap();
    let asked = || namespace.run(in_force).unwrap().unwrap();
    assert_eq!(asked(), InForce::default());
    namespace.run(|| Redirection::default().apply()).unwrap().unwrap();
    assert!(asked().both(), "{:?}", asked());
    namespace.run(|| Redirection::default().release()).unwrap().unwrap();
    assert_eq!(asked(), InForce::default());
    namespace.run(|| Redirection::default().remove()).unwrap().unwrap();
    assert!(!asked().both());
}

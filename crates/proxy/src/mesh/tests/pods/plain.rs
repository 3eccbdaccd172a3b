//! Plain text arrives at a pod of the mesh: from outside of it, from the node, and while the mode changes.

use std::net::Ipv6Addr;

use model::codes::mesh as codes;

use super::*;
use crate::mesh::{Direction, Secured};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_refuses_plain_text_without_a_byte_to_the_application_and_permissive_says_that_it_came() {
    let Some(cluster) = Cluster::start() else { return };
    let (ledger, outside) = (cluster.join("ledger", 3), cluster.stranger(4));
    let server = ledger.serve(8080, "");
    let urls = [format!("http://{}/", ledger.at(8080)), format!("http://[{}]:8080/", ledger.place.v6)];
    for (url, own) in urls.iter().zip(outside.place.addresses()) {
        cluster.mode("ledger", &ledger, Mode::Strict);
        let before = server.callers().len();
        assert_ne!(outside.curl(url).await.0, Some(0), "{url}");
        let record = cluster.records(1).await.remove(0);
        assert_eq!((record.code, record.secured), (Some(&codes::PLAIN_TEXT), Secured::Refused));
        assert_eq!((record.direction, record.source_address.ip()), (Direction::Inbound, own));
        assert_eq!(record.destination_address.unwrap().port(), 8080);
        assert_eq!(server.callers().len(), before, "a refused connection sends nothing upstream");
        cluster.mode("ledger", &ledger, Mode::Permissive);
        assert_eq!(outside.curl(url).await, (Some(0), format!("you are {own}\n")));
        let record = cluster.records(1).await.remove(0);
        assert_eq!((record.code, record.secured), (None, Secured::Plain("permissive")));
        assert!(record.source.is_empty() && record.sent > 10 && record.received > 10, "{record:?}");
        assert_eq!(server.callers().last(), Some(&own));
    }
    cluster.mode("ledger", &ledger, Mode::Disabled);
    assert_eq!(outside.curl(&urls[0]).await.0, Some(0));
    assert_eq!(cluster.records(1).await[0].secured, Secured::Plain("disabled"));
    // A policy that asks for an identity is not met by who has none.
    cluster.change(Change::Policy(allow("web-only", &["web"])));
    assert_ne!(outside.curl(&urls[0]).await.0, Some(0));
    assert_eq!(cluster.records(1).await[0].code, Some(&codes::NOT_ALLOWED));
    // An application that is away, and a workload that is not known.
    cluster.change(Change::PolicyGone("bank/web-only".into()));
    assert_ne!(outside.curl(&format!("http://{}/", ledger.at(8089))).await.0, Some(0));
    assert_eq!(cluster.records(1).await[0].code, Some(&codes::APPLICATION_UNREACHABLE));
    cluster.change(Change::WorkloadGone(uid("ledger")));
    assert_ne!(outside.curl(&urls[0]).await.0, Some(0));
    assert_eq!(cluster.records(1).await[0].code, Some(&codes::POLICY_UNKNOWN));
    assert_eq!(server.callers().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_plain_connection_is_closed_when_the_mode_becomes_strict() {
    let Some(cluster) = Cluster::start() else { return };
    let (ledger, outside) = (cluster.join("ledger", 3), cluster.stranger(4));
    let _server = ledger.serve(8080, "");
    let mut client = outside.connect(ledger.at(8080)).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    client.read_exact(&mut back).await.unwrap();
    cluster.mode("ledger", &ledger, Mode::Strict);
    let ended = tokio::time::timeout(Duration::from_secs(5), client.read(&mut back)).await;
    let error = ended.expect("within five seconds").expect_err("a reset, no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(cluster.records(1).await[0].code, Some(&codes::REVOKED_BY_CHANGE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubelet_probes_in_plain_text_from_its_address_at_the_ports_of_probes_and_nowhere_else() {
    let Some(cluster) = Cluster::start() else { return };
    let node: Vec<IpAddr> = cluster.network.node().addresses();
    let probes = Probes { nodes: node.iter().copied().collect(), ports: [8080].into() };
    let tcp = ("10.77.0.1".parse().unwrap(), 8082);
    let redirection = Redirection { probes: vec![tcp], ..Redirection::default() };
    let ledger = cluster.join_as("ledger", 3, &redirection, probes);
    let outside = cluster.stranger(4);
    let (probed, other) = (ledger.serve(8080, ""), ledger.serve(8081, ""));
    cluster.mode("ledger", &ledger, Mode::Strict);
    cluster.change(Change::Policy(allow("web-only", &["web"])));
    let from_node = |url: String| {
        let mut curl = cluster.network.node().command("curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", "5", &url]);
        async move { tokio::process::Command::from(curl).output().await.unwrap().status.code() }
    };
    for url in [format!("http://{}/", ledger.at(8080)), format!("http://[{}]:8080/", ledger.place.v6)] {
        assert_eq!(from_node(url).await, Some(0));
        let record = cluster.records(1).await.remove(0);
        assert_eq!((record.code, record.secured), (None, Secured::Plain("probe")), "{record:?}");
    }
    assert_eq!(probed.callers(), node);
    assert_ne!(from_node(format!("http://{}/", ledger.at(8081))).await, Some(0), "no port of probes");
    assert_eq!(cluster.records(1).await[0].code, Some(&codes::PLAIN_TEXT));
    assert_ne!(outside.curl(&format!("http://{}/", ledger.at(8080))).await.0, Some(0), "not the node");
    assert_eq!(cluster.records(1).await[0].code, Some(&codes::PLAIN_TEXT));
    assert!(other.callers().is_empty() && probed.callers().len() == 2);
    // Whether a TCP port is open is seen as it is: the proxy would take each connection. 7: refused.
    assert_eq!(from_node(format!("http://{}/", ledger.at(8082))).await, Some(7));
    let _late = ledger.serve(8082, "");
    assert_eq!(from_node(format!("http://{}/", ledger.at(8082))).await, Some(0));
    assert_ne!(outside.curl(&format!("http://{}/", ledger.at(8082))).await.0, Some(0), "the node alone");
}

/// IPv6 gives each interface an address that nobody assigned: it is no way round the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_the_workload_is_not_known_by_is_no_way_in() {
    let Some(cluster) = Cluster::start() else { return };
    let (ledger, outside) = (cluster.join("ledger", 3), cluster.stranger(4));
    let server = ledger.serve(8080, "");
    let other: IpAddr = "10.77.0.33".parse().unwrap();
    ledger.place.add_address("eth0", other);
    let mut link_local = None;
    for _ in 0..100 {
        let lines = ledger.place.run("cat", &["/proc/net/if_inet6"]);
        // Flag 40: whether anybody else has it is still being asked.
        let ready =
            |words: &Vec<&str>| words[0].starts_with("fe80") && words[4] != "40" && words[5] == "eth0";
        link_local = lines
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find(ready)
            .map(|words| Ipv6Addr::from(u128::from_str_radix(words[0], 16).unwrap()));
        if link_local.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let link_local = link_local.expect("a link-local address");
    for url in [format!("http://{other}:8080/"), format!("http://[{link_local}%25eth0]:8080/")] {
        assert_ne!(outside.curl(&url).await.0, Some(0), "{url}");
        let record = cluster.records(1).await.remove(0);
        assert_eq!(record.code, Some(&codes::APPLICATION_UNREACHABLE), "{record:?}");
        assert!(record.detail.contains("is no address of"), "{record:?}");
    }
    assert!(server.callers().is_empty());
}

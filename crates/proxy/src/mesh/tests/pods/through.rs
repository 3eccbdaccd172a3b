//! Applications of the mesh call one another, and know nothing of it.

use model::codes::mesh as codes;

use super::capture::{Capture, contains};
use super::*;
use crate::mesh::{Direction, Secured};

const WEB: &str = "spiffe://cluster.local/ns/bank/sa/web";
const LEDGER: &str = "spiffe://cluster.local/ns/bank/sa/ledger";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_by_any_address_is_mutual_tls_on_the_wire_and_the_application_sees_its_client() {
    let Some(cluster) = Cluster::start() else { return };
    let (web, ledger) = (cluster.join("web", 2), cluster.join("ledger", 3));
    let server = ledger.serve(8080, "");
    cluster.mode("ledger", &ledger, Mode::Strict);
    let capture = Capture::start(&cluster.network);
    let ways = [
        (format!("http://{}:8080/open-sesame", ledger.place.v4), IpAddr::from(web.place.v4)),
        (format!("http://{}/open-sesame", cluster_ip(3)), web.place.v4.into()),
        (format!("http://[{}]:8080/open-sesame", ledger.place.v6), web.place.v6.into()),
    ];
    for (url, own) in &ways {
        assert_eq!(web.curl(url).await, (Some(0), format!("you are {own}\n")), "{url}");
        for record in cluster.records(2).await {
            assert_eq!((record.secured, record.code), (Secured::Hbone, None), "{record:?}");
            assert_eq!((record.source.as_str(), record.destination.as_str()), (WEB, LEDGER));
            assert!(record.sent > 10 && record.received > 10, "{record:?}");
        }
    }
    let callers: Vec<IpAddr> = ways.iter().map(|(_, own)| *own).collect();
    assert_eq!(server.callers(), callers);
    let segments = capture.end();
    assert!(!contains(&segments, "open-sesame") && !contains(&segments, "you are"));
    assert!(segments.len() > 10, "the capture saw {}", segments.len());
    for segment in &segments {
        let ports = [segment.from.port(), segment.to.port()];
        assert!(ports.contains(&HBONE_PORT), "{segment:?}");
    }
    // What begins a flow is a record of TLS: a handshake.
    let first = segments.iter().find(|segment| segment.to.port() == HBONE_PORT).unwrap();
    assert_eq!(first.payload[..2], [22, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_first_is_heard_at_once_within_the_mesh_and_outside() {
    let Some(cluster) = Cluster::start() else { return };
    let (web, ledger, outside) = (cluster.join("web", 2), cluster.join("ledger", 3), cluster.stranger(4));
    let banner = "220 ledger ESMTP\r\n";
    let (_inside, _outside) = (ledger.serve(8080, banner), outside.serve(25, banner));
    for to in [ledger.at(8080), outside.at(25), SocketAddr::new(outside.place.v6.into(), 25)] {
        let began = std::time::Instant::now();
        let mut client = web.connect(to).await.unwrap();
        let mut heard = vec![0; banner.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, banner.as_bytes());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        // Each direction ends by itself: all comes back after the client's end.
        let text = vec![b'x'; 3_000_000];
        let (mut read, mut write) = client.into_split();
        let writing = tokio::spawn(async move {
            write.write_all(&text).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.unwrap();
        writing.await.unwrap();
        assert_eq!(back.len(), 3_000_000, "{to}");
    }
    let records = cluster.records(4).await;
    let plain =
        records.iter().filter(|record| record.secured == Secured::Plain("destination_unknown")).count();
    assert_eq!((plain, records.len()), (2, 4), "{records:#?}");
}

/// Nothing waits for the first bytes, so a call may be over sooner than they came; then what was seen before counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_spoken_is_learnt_from_calls_that_say_it_and_known_of_those_that_wait() {
    let Some(cluster) = Cluster::start() else { return };
    let (web, ledger) = (cluster.join("web", 2), cluster.join("ledger", 3));
    let _server = ledger.serve(8080, "");
    let url = format!("http://{}/", ledger.at(8080));
    let spoken = async || {
        let records = cluster.records(2).await;
        records.iter().find(|record| record.direction == Direction::Outbound).unwrap().protocol
    };
    let mut calls = 0;
    loop {
        assert_eq!(web.curl(&url).await.0, Some(0));
        if spoken().await == "http/1.1" {
            break;
        }
        calls += 1;
        assert!(calls < 50, "it is never seen");
    }
    // One that says nothing.
    drop(web.connect(ledger.at(8080)).await.unwrap());
    assert_eq!(spoken().await, "http/1.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_reaches_itself_by_its_service_and_by_its_own_addresses() {
    let Some(cluster) = Cluster::start() else { return };
    let web = cluster.join("web", 2);
    let server = web.serve(8080, "");
    cluster.mode("web", &web, Mode::Strict);
    let own = format!("you are {}\n", web.place.v4);
    assert_eq!(web.curl(&format!("http://{}/", cluster_ip(2))).await, (Some(0), own.clone()));
    let records = cluster.records(2).await;
    assert!(records.iter().all(|record| record.secured == Secured::Hbone), "{records:#?}");
    // What stays in the pod is the pod's own business.
    assert_eq!(web.curl(&format!("http://{}:8080/", web.place.v4)).await, (Some(0), own));
    assert_eq!(web.curl("http://127.0.0.1:8080/").await.0, Some(0));
    assert_eq!(web.curl("http://[::1]:8080/").await.0, Some(0));
    assert_eq!(server.callers().len(), 4);
    assert!(cluster.records(0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_calls_a_proxy_itself_gets_nowhere() {
    let Some(cluster) = Cluster::start() else { return };
    let (web, ledger, outside) = (cluster.join("web", 2), cluster.join("ledger", 3), cluster.stranger(4));
    let server = ledger.serve(8080, "");
    // Its own, from inside: nothing was redirected there.
    for (to, direction) in [(web.at(15001), Direction::Outbound), (web.at(15006), Direction::Inbound)] {
        let (code, _) = web.curl(&format!("http://{to}/")).await;
        assert_ne!(code, Some(0), "{to}");
        let record = cluster.records(1).await.remove(0);
        assert_eq!((record.code, record.direction), (Some(&codes::LOOP), direction));
    }
    let (code, _) = web.curl(&format!("http://127.0.0.1:{HBONE_PORT}/")).await;
    assert_ne!(code, Some(0));
    assert_eq!(cluster.records(1).await[0].code, Some(&codes::PLAIN_TEXT));
    // Another's, through the tunnel: both sides say so.
    for port in [15001, 15006, HBONE_PORT] {
        let (code, _) = web.curl(&format!("http://{}/", ledger.at(port))).await;
        assert_ne!(code, Some(0), "{port}");
        let records = cluster.records(2).await;
        let code_of = |direction| {
            records.iter().find(|record| record.direction == direction).and_then(|record| record.code)
        };
        assert_eq!(code_of(Direction::Inbound), Some(&codes::LOOP), "{port}: {records:#?}");
        assert_eq!(code_of(Direction::Outbound), Some(&codes::PEER_REFUSED), "{port}");
    }
    // From outside of the mesh, in plain text.
    for (port, why) in [(15001, "is this proxy itself"), (15006, "nothing was redirected")] {
        let (code, _) = outside.curl(&format!("http://{}/", ledger.at(port))).await;
        assert_ne!(code, Some(0), "{port}");
        let record = cluster.records(1).await.remove(0);
        assert_eq!(record.code, Some(&codes::LOOP), "{port}");
        assert!(record.detail.contains(why), "{record:?}");
    }
    assert!(server.callers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_excepted_goes_round_the_mesh_and_all_else_leaves_marked() {
    let Some(cluster) = Cluster::start() else { return };
    let outside = cluster.stranger(4);
    let excepted = sys::redirection::Exceptions { ports: vec![9000], subnets: Vec::new() };
    let redirection = Redirection { outbound: excepted, inbound_ports: vec![9000], ..Redirection::default() };
    let web = cluster.join_as("web", 2, &redirection, Probes::default());
    let ledger = cluster.join_as("ledger", 3, &redirection, Probes::default());
    cluster.mode("ledger", &ledger, Mode::Strict);
    let (server, _unknown) = (ledger.serve(9000, ""), outside.serve(8080, ""));
    // Counts connections that leave the pod, by whether they have the mark.
    let counts = "add table inet judge; add chain inet judge out { type filter hook postrouting priority 0; }; \
                  add rule inet judge out oif eth0 tcp flags syn / fin,syn,rst,ack meta mark 1337 counter; \
                  add rule inet judge out oif eth0 tcp flags syn / fin,syn,rst,ack meta mark != 1337 counter";
    web.place.run("nft", &[counts]);
    let url = format!("http://{}/", ledger.at(9000));
    let capture = Capture::start(&cluster.network);
    assert_eq!(web.curl(&url).await, (Some(0), format!("you are {}\n", web.place.v4)));
    assert_eq!(outside.curl(&url).await.0, Some(0));
    assert!(cluster.records(0).await.is_empty(), "no proxy had it");
    assert!(contains(&capture.end(), "you are"), "so is plain text found on the wire");
    assert_eq!(server.callers().len(), 2);
    assert_eq!(web.curl(&format!("http://{}/", outside.at(8080))).await.0, Some(0));
    assert_ne!(web.curl(&format!("http://{}/", ledger.at(8081))).await.0, Some(0), "nobody listens there");
    let counted = web.place.run("nft", &["list", "table", "inet", "judge"]);
    let count = |line: &str| {
        let line = counted.lines().find(|found| found.contains(line)).unwrap();
        line.split("packets ").nth(1).unwrap().split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    // One to the server outside, one to the ledger's proxy; and the application's own that is excepted.
    assert_eq!((count("mark 0x00000539"), count("mark != 0x00000539")), (2, 1), "{counted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_one_time_each_have_their_own_and_are_seen_by_their_own_addresses() {
    let Some(cluster) = Cluster::start() else { return };
    let (web, ledger, outside) = (cluster.join("web", 2), cluster.join("ledger", 3), cluster.stranger(4));
    let server = ledger.serve(8080, "");
    let mut open = Vec::new();
    for n in 0..300_u32 {
        let member = if n % 2 == 0 { &web } else { &outside };
        let mut client = member.connect(ledger.at(8080)).await.unwrap();
        client.write_all(&n.to_be_bytes()).await.unwrap();
        open.push(client);
    }
    for (n, client) in (0..300_u32).zip(&mut open) {
        let mut back = [0; 4];
        tokio::time::timeout(Duration::from_secs(10), client.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(u32::from_be_bytes(back), n);
    }
    drop(open);
    let callers = server.callers();
    for member in [&web, &outside] {
        let own = IpAddr::from(member.place.v4);
        assert_eq!(callers.iter().filter(|caller| **caller == own).count(), 150);
    }
    // A call has two records in the mesh, and one from outside.
    let mut records = Vec::new();
    while records.len() < 450 {
        records.extend(cluster.records(1).await);
    }
    assert!(records.iter().all(|record| record.code.is_none() && record.sent == 4), "{records:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_proxy_of_several_pods_calls_from_the_network_of_each() {
    let Some(cluster) = Cluster::start() else { return };
    let ledger = cluster.join("ledger", 3);
    let server = ledger.serve(8080, "");
    let mesh = cluster.mesh();
    // Alike in all but where they are: the same account with one certificate, and no address that was said.
    let credential = cluster.ca.credential("web");
    let mut pods = Vec::new();
    for (name, last) in [("web-1", 4), ("web-2", 5)] {
        let mut member = cluster.stranger(last);
        let mut own = workload(name, member.place.addresses());
        own.service_account = "web".into();
        cluster.change(Change::Workload(own));
        let (credential, namespace) = (Arc::clone(&credential), Some(member.namespace.clone()));
        let attached = attach(&mesh, name, None, credential, namespace, (true, Probes::default()));
        member.attached = Some(attached.unwrap());
        member.namespace.run(|| Redirection::default().apply()).unwrap().unwrap();
        pods.push(member);
    }
    for _ in 0..2 {
        for pod in &pods {
            let url = format!("http://{}/", ledger.at(8080));
            assert_eq!(pod.curl(&url).await, (Some(0), format!("you are {}\n", pod.place.v4)));
        }
    }
    assert_eq!(server.callers().len(), 4);
    // One calls the other: both ends are the same process.
    let _other = pods[1].serve(8080, "");
    let url = format!("http://{}/", pods[1].at(8080));
    assert_eq!(pods[0].curl(&url).await, (Some(0), format!("you are {}\n", pods[0].place.v4)));
    assert_eq!(mesh.shared.pool.len(), 3);
    assert!(cluster.records(10).await.iter().all(|record| record.secured == Secured::Hbone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strict_pod_sends_nothing_in_plain_text() {
    let Some(cluster) = Cluster::start() else { return };
    let (web, outside) = (cluster.join("web", 2), cluster.stranger(4));
    let server = outside.serve(8080, "");
    let mut strict = workload("web", web.place.addresses());
    strict.modes.outbound = Mode::Strict.into();
    cluster.change(Change::Workload(strict));
    let capture = Capture::start(&cluster.network);
    for host in [outside.place.v4.to_string(), format!("[{}]", outside.place.v6)] {
        assert_ne!(web.curl(&format!("http://{host}:8080/open-sesame")).await.0, Some(0));
        let record = cluster.records(1).await.remove(0);
        assert_eq!((record.code, record.secured), (Some(&codes::WOULD_BE_PLAIN), Secured::Refused));
        assert_eq!(record.source, WEB);
    }
    let segments = capture.end();
    assert!(segments.is_empty(), "{segments:?}");
    assert!(server.callers().is_empty());
}

//! HTTP/2 on either side, gRPC with its trailers.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use serde_json::json;
use testkit::http_upstream::{HttpUpstream, pattern};

use super::client::{frames, full, h2, request, whole};
use super::{FakeTls, Served, snapshot, to_app};

/// An application that outlives the test: it has a runtime of its own, which must not end within another.
fn application() -> &'static HttpUpstream {
    Box::leak(Box::new(std::thread::spawn(HttpUpstream::start).join().unwrap()))
}

fn over_http2(app: &HttpUpstream) -> Served {
    let mut value = snapshot(to_app(), &[app.addr()]);
    value["services"]["app"]["protocol"] = json!("http2");
    Served::plain(value)
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_reaches_an_http1_application() {
    let app = application();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut client = h2(&served).await;
    let answer = whole(client.send_request(request("POST", "/body", full(pattern(300_000)))).await.unwrap())
        .await
        .unwrap();
    assert_eq!(answer.parts.version, http::Version::HTTP_2);
    assert_eq!(answer.body, pattern(300_000));
    let answer = whole(client.send_request(request("GET", "/a?b", full(""))).await.unwrap()).await.unwrap();
    let seen: testkit::http_upstream::Asked = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((seen.version.as_str(), seen.path.as_str()), ("HTTP/1.1", "/a?b"));
    assert_eq!(seen.header("host"), ["localhost"]);
    assert_eq!(app.counters().connections(), 1);
    let mut crumbs = request("GET", "/", full(""));
    crumbs.headers_mut().append("cookie", "a=1".parse().unwrap());
    crumbs.headers_mut().append("cookie", "b=2".parse().unwrap());
    let answer = whole(client.send_request(crumbs).await.unwrap()).await.unwrap();
    let seen: testkit::http_upstream::Asked = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(seen.header("cookie"), ["a=1; b=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_reaches_an_http2_application_over_one_connection() {
    let app = application();
    let served = over_http2(app);
    let mut client = h2(&served).await;
    // The first one makes the connection; those that follow share it.
    whole(client.send_request(request("GET", "/", full(""))).await.unwrap()).await.unwrap();
    let mut waiting = Vec::new();
    for n in 0..20 {
        waiting.push(client.send_request(request("GET", &format!("/bytes/{}", n * 1000), full(""))));
    }
    for (n, answer) in futures_util::future::join_all(waiting).await.into_iter().enumerate() {
        assert_eq!(whole(answer.unwrap()).await.unwrap().body, pattern(n * 1000));
    }
    assert_eq!(app.counters().connections(), 1);
    let seen: testkit::http_upstream::Asked = serde_json::from_slice(
        &whole(client.send_request(request("GET", "/", full(""))).await.unwrap()).await.unwrap().body,
    )
    .unwrap();
    assert_eq!((seen.version.as_str(), seen.header(":authority")), ("HTTP/2.0", vec!["localhost"]));
    // HTTP/1 clients reach it as well.
    assert_eq!(served.get("/bytes/10").body, pattern(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_gets_its_trailers() {
    let app = application();
    let served = over_http2(app);
    let mut client = h2(&served).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    let body = frames(vec![Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi")), Frame::trailers(trailers)]);
    let mut call = request("POST", "/grpc.Service/Method", body);
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = whole(client.send_request(call).await.unwrap()).await.unwrap();
    assert_eq!(answer.body, "\0\0\0\0\x02hi");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    assert_eq!(app.asked()[0].header("te"), ["trailers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_told_unavailable_and_refused_in_its_own_way() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut value = snapshot(to_app(), &[closed]);
    value["services"]["app"]["protocol"] = json!("http2");
    let served = Served::plain(value);
    let mut client = h2(&served).await;
    let mut call = request("POST", "/grpc.Service/Method", full("x"));
    call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let answer = whole(client.send_request(call).await.unwrap()).await.unwrap();
    assert_eq!(answer.parts.status, StatusCode::OK);
    assert_eq!(answer.parts.headers["grpc-status"], "14");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off_resets_the_stream() {
    let app = application();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut client = h2(&served).await;
    let answer = client.send_request(request("GET", "/truncate", full(""))).await.unwrap();
    assert!(whole(answer).await.is_err());
    // The connection goes on.
    assert_eq!(client.send_request(request("GET", "/", full(""))).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_in_one_request_are_400() {
    let app = application();
    let served = Served::tls(snapshot(to_app(), &[app.addr()]), FakeTls { h2: true, ..FakeTls::default() });
    let mut client = h2(&served).await;
    let mut two = request("GET", "/", full(""));
    two.headers_mut().insert("host", "other".parse().unwrap());
    assert_eq!(client.send_request(two).await.unwrap().status(), 400);
    assert!(app.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_cancels_is_cut_off() {
    let app = application();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut client = h2(&served).await;
    let started = std::time::Instant::now();
    let mut cut = false;
    while started.elapsed() < std::time::Duration::from_secs(20) {
        let sent = client.send_request(request("GET", "/slow/2000", full("")));
        // Given up at once: RST_STREAM.
        if let Ok(Err(_)) = tokio::time::timeout(std::time::Duration::from_millis(2), sent).await {
            cut = true;
            break;
        }
    }
    assert!(cut, "it went on for 20 s");
}

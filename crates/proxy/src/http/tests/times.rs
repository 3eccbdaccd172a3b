//! Slow, silent and greedy clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::http_upstream::HttpUpstream;

use super::{Served, read_all, snapshot, to_app};

fn with_times(times: serde_json::Value) -> (Served, HttpUpstream) {
    let app = HttpUpstream::start();
    let mut value = snapshot(to_app(), &[app.addr()]);
    value["listeners"][0]["timeouts"] = times;
    (Served::plain(value), app)
}

/// How long until the connection is closed.
fn closed_after(mut socket: TcpStream) -> Duration {
    let started = Instant::now();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; 65536];
    while let Ok(1..) = socket.read(&mut buffer) {}
    started.elapsed()
}

#[test]
fn headers_in_drips_end_the_connection() {
    let (served, _app) = with_times(json!({"header": "500ms"}));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    let mut sender = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        {
            if sender.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let after = closed_after(socket.try_clone().unwrap());
    assert!((Duration::from_millis(400)..Duration::from_secs(2)).contains(&after), "{after:?}");
    let _ = socket.write_all(b"x");
    // A client that says nothing at all.
    let after = closed_after(TcpStream::connect(served.addr).unwrap());
    assert!(after < Duration::from_secs(2), "{after:?}");
    assert!(served.metrics.text().contains("reason=\"request_timeout\""));
}

#[test]
fn an_http2_client_that_takes_nothing_is_closed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (served, _app) = with_times(json!({"send": "1s"}));
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(served.addr).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .initial_stream_window_size(0)
                .handshake(hyper_util::rt::TokioIo::new(socket))
                .await
                .unwrap();
        let answers: Vec<_> = (0..5)
            .map(|_| {
                sender.send_request(super::client::request("GET", "/bytes/300000", super::client::full("")))
            })
            .collect();
        let started = Instant::now();
        let held = tokio::join!(connection, futures_util::future::join_all(answers));
        assert!((Duration::from_millis(900)..Duration::from_secs(6)).contains(&started.elapsed()));
        drop(held);
    });
    assert!(served.metrics.text().contains("reason=\"request_timeout\""));
}

#[test]
fn an_idle_connection_is_closed_and_one_in_use_is_not() {
    let (served, _app) = with_times(json!({"idle": "1500ms"}));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    let mut buffer = [0; 4096];
    // Longer pauses than it takes to give buffers back.
    for pause in [0, 1200, 1200, 100] {
        std::thread::sleep(Duration::from_millis(pause));
        socket.write_all(b"GET /bytes/3 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let n = socket.read(&mut buffer).unwrap();
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..n]));
    }
    let after = closed_after(socket);
    assert!((Duration::from_millis(1300)..Duration::from_secs(4)).contains(&after), "{after:?}");
}

#[test]
fn a_body_that_stalls_is_408() {
    let (served, app) = with_times(json!({"body": "400ms"}));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    socket.write_all(b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    let text = read_all(&mut socket);
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(app.asked().iter().all(|asked| asked.body_bytes < 10), "never complete for the application");
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_holds_little() {
    let (served, _app) = with_times(json!({"send": "700ms"}));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    socket.write_all(b"GET /bytes/40000000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut total = socket.read(&mut [0; 1024]).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    let mut buffer = vec![0; 1 << 20];
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    while let Ok(n @ 1..) = socket.read(&mut buffer) {
        total += n;
    }
    assert!(total < 25_000_000, "{total} bytes went through");
}

#[test]
fn a_connection_has_a_number_of_requests() {
    let app = HttpUpstream::start();
    let mut value = snapshot(to_app(), &[app.addr()]);
    value["listeners"][0]["limits"] = json!({"requests": 3});
    let served = Served::plain(value);
    let answers = served.raw(&"GET /bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(5));
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3, "{answers}");
    assert!(answers.contains("connection: close"));
}

#[test]
fn a_drain_lets_the_request_under_way_finish() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut busy = TcpStream::connect(served.addr).unwrap();
    busy.write_all(b"GET /slow/600 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut idle = TcpStream::connect(served.addr).unwrap();
    idle.write_all(b"GET /bytes/1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut buffer = [0; 1024];
    assert!(idle.read(&mut buffer).unwrap() > 0);
    std::thread::sleep(Duration::from_millis(200));
    served.state.listeners[0].drain.begin();
    assert!(closed_after(idle) < Duration::from_millis(1500));
    let text = read_all(&mut busy);
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("ok\n") && text.contains("connection: close"),
        "{text}"
    );
}

/// The size of a future that a function with these arguments makes.
fn size<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
    std::mem::size_of::<F>()
}

fn size_of_three<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
    std::mem::size_of::<F>()
}

#[test]
fn futures_stay_small() {
    // One lives as long as its connection; the other is held, boxed, while a request is under way.
    let connection = size(crate::http::serve::<tokio::net::TcpStream>);
    let request = size_of_three(crate::http::serve::one);
    let answer = size::<&'static mut crate::http::exchange::Exchange, _, _>(crate::http::pipeline::answer);
    eprintln!("connection {connection}, request {request}, answer {answer}");
    assert!(connection <= 1536, "{connection}");
    assert!(request <= 1024, "{request}");
    assert!(answer <= 4096, "{answer}");
}

#[test]
fn a_client_that_has_said_all_gets_its_answer() {
    let app = HttpUpstream::start();
    let served = Served::plain(snapshot(to_app(), &[app.addr()]));
    let mut socket = TcpStream::connect(served.addr).unwrap();
    socket.write_all(b"GET /slow/300 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_all(&mut socket).ends_with("ok\n"));
}

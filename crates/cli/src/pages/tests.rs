use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

fn limits(most: usize, most_each: usize) -> Limits {
    Limits { most, most_each, header: Duration::from_millis(300), whole: Duration::from_secs(5) }
}

#[test]
fn nobody_takes_all_seats() {
    let seats = Seats::new(3, 2);
    let peer = |text: &str| text.parse::<IpAddr>().unwrap();
    let first = Seats::take(&seats, peer("10.0.0.1"));
    let second = Seats::take(&seats, peer("::ffff:10.0.0.1"));
    assert!(first.is_some() && second.is_some());
    assert!(Seats::take(&seats, peer("10.0.0.1")).is_none(), "one address in two forms");
    let third = Seats::take(&seats, peer("10.0.0.2"));
    assert!(third.is_some());
    assert!(Seats::take(&seats, peer("10.0.0.3")).is_none(), "all are taken");
    drop((first, second));
    assert!(Seats::take(&seats, peer("10.0.0.3")).is_some());
    drop(third);
    assert!(seats.lock().is_empty(), "addresses are forgotten");
}

async fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said).await;
    said
}

#[tokio::test]
async fn who_says_nothing_is_put_out_and_probes_are_answered() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let pages: Pages = Arc::new(|path| match path {
        "/livez" => Some(Page::text("alive\n")),
        "/readyz" => Some(Page::ready(false)),
        _ => None,
    });
    let serving = tokio::spawn(serve(socket, limits(8, 2), pages));
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert!(ask(address, "/livez").await.ends_with("alive\n"));
    assert!(ask(address, "/readyz").await.contains("503"), "it has read nothing yet");
    assert!(ask(address, "/metrics").await.contains("404"));
    serving.abort();
}

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

async fn copy_with(
    idle: Duration,
) -> (tokio::io::DuplexStream, tokio::io::DuplexStream, tokio::task::JoinHandle<Copied>) {
    let (near, mut a) = duplex(1 << 10);
    let (far, mut b) = duplex(1 << 10);
    let task = tokio::spawn(async move {
        both_ways(&mut a, &mut b, idle, (&Counter::default(), &Counter::default())).await
    });
    (near, far, task)
}

#[tokio::test]
async fn a_half_closed_connection_still_carries_the_other_direction() {
    let (mut near, mut far, task) = copy_with(Duration::from_secs(5)).await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut question = Vec::new();
    far.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
    let mut answer = Vec::new();
    let writing = async {
        far.write_all(&[7; 100_000]).await.unwrap();
        far.shutdown().await.unwrap();
    };
    let reading = async { near.read_to_end(&mut answer).await.unwrap() };
    tokio::join!(writing, reading);
    assert_eq!(answer.len(), 100_000);
    let copied = task.await.unwrap();
    assert!(matches!(copied.end, End::Complete), "{copied:?}");
    assert_eq!((copied.forth, copied.back), (8, 100_000));
}

#[tokio::test]
async fn silence_ends_a_connection_and_bytes_put_that_off() {
    let (mut near, mut far, task) = copy_with(Duration::from_millis(400)).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        near.write_all(b"x").await.unwrap();
        far.read_u8().await.unwrap();
    }
    let before = Instant::now();
    let copied = task.await.unwrap();
    assert!(matches!(copied.end, End::Idle), "{copied:?}");
    assert!(before.elapsed() >= Duration::from_millis(300), "{:?}", before.elapsed());
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let (mut near, mut far, _task) = copy_with(Duration::from_secs(5)).await;
    near.write_all(b"x").await.unwrap();
    far.read_u8().await.unwrap();
    tokio::task::yield_now().await;
    let spare = BUFFERS.with_borrow(Vec::len);
    assert!(spare >= 1, "the buffer was given back");
}

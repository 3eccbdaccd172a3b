//! An API server that goes silent, is slow, or forgets; over real sockets, with an HTTP server of a few lines, because a
//! real one does not do this when it is asked to.

use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

const PERIODS: Periods = Periods {
    watch: Duration::from_secs(1),
    margin: Duration::from_millis(500),
    list: Duration::from_secs(5),
    again: Duration::from_millis(50),
    longest: Duration::from_millis(50),
};

/// What the server answers, in its order; the last one again and again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Watch {
    /// Says that it begins, and then nothing any more.
    Silent,
    /// Does not even answer.
    Dead,
    /// Has forgotten where the watch is to go on from.
    Forgotten,
    /// Says that the pod of this number is there, and is silent then.
    Says(u64),
}

#[derive(Debug)]
struct Server {
    watches: Mutex<Vec<Watch>>,
    /// What was asked, in its order.
    asked: Mutex<Vec<String>>,
    /// The version of the list, and the number of its pod.
    listed: Mutex<u64>,
}

fn pod_of(number: u64) -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "spec": { "containers": [] },
            "metadata": { "namespace": "shop", "name": format!("p{number}"), "uid": format!("u{number}"),
                          "resourceVersion": number.to_string() } })
}

async fn serve(server: Arc<Server>) -> Client {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&server)));
        }
    });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    Client::try_from(config).unwrap()
}

async fn answer(stream: TcpStream, server: Arc<Server>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        let watch = request.contains("watch=true");
        server.asked.lock().unwrap().push(request);
        if !watch {
            let number = *server.listed.lock().unwrap();
            let list = json!({ "apiVersion": "v1", "kind": "PodList", "items": [pod_of(number)],
                               "metadata": { "resourceVersion": number.to_string() } })
            .to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                list.len()
            );
            stream.write_all((head + &list).as_bytes()).await?;
            continue;
        }
        let next = {
            let mut watches = server.watches.lock().unwrap();
            if watches.len() > 1 { watches.remove(0) } else { watches[0] }
        };
        if next == Watch::Dead {
            std::future::pending::<()>().await;
        }
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
            )
            .await?;
        let event = match next {
            Watch::Forgotten => json!({ "type": "ERROR", "object": { "kind": "Status", "apiVersion": "v1",
                "status": "Failure", "reason": "Expired", "message": "too old", "code": 410, "metadata": {} } }),
            Watch::Says(number) => json!({ "type": "ADDED", "object": pod_of(number) }),
            _ => std::future::pending().await,
        };
        let event = format!("{event}\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        std::future::pending::<()>().await;
    }
}

/// The pods of a server that answers so, once `until` is true of them; what it was asked.
async fn followed(watches: &[Watch], until: impl Fn(&Kept<Pod>) -> bool) -> Vec<String> {
    let server = Arc::new(Server {
        watches: Mutex::new(watches.to_vec()),
        asked: Mutex::default(),
        listed: Mutex::new(1),
    });
    let client = serve(Arc::clone(&server)).await;
    let noted = Arc::new(Noted::default());
    let kept = Kept::new("Pod", &noted);
    let api = Api::<Pod>::all(client);
    let following = follow(&api, &kept, pod, PERIODS);
    let reached = async {
        while !until(&kept) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if server.asked.lock().unwrap().iter().any(|asked| asked.contains("watch=true")) {
                *server.listed.lock().unwrap() = 7;
            }
        }
    };
    timeout(Duration::from_secs(60), async {
        tokio::select! {
            () = following => panic!("it gave up"),
            () = reached => {}
        }
    })
    .await
    .unwrap();
    let asked = server.asked.lock().unwrap();
    asked.iter().filter(|asked| asked.contains("watch=true")).cloned().collect()
}

fn has(name: &'static str) -> impl Fn(&Kept<Pod>) -> bool {
    move |kept| kept.object("shop", name).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_goes_silent_is_given_up_and_goes_on_where_it_was() {
    let asked = followed(&[Watch::Silent, Watch::Dead, Watch::Says(2)], has("p2")).await;
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.contains("resourceVersion=1")), "{asked:?}");
    assert!(asked.iter().all(|asked| asked.contains("timeoutSeconds=1")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_listed_anew() {
    // What is gone by then is gone here, too.
    let listed_anew = |kept: &Kept<Pod>| has("p7")(kept) && !has("p1")(kept);
    followed(&[Watch::Forgotten, Watch::Silent], listed_anew).await;
}

#[tokio::test]
async fn whoever_asks_for_a_pod_waits_until_it_is_told_and_gets_no_other_of_its_name() {
    let noted = Arc::new(Noted::default());
    let kinds = Kinds::new(&noted);
    let (published, receiver) = watch::channel(0);
    let known = Known { kinds: kinds.clone(), published: receiver };
    let of = |uid: &str| {
        let mut value = pod_of(1);
        value["metadata"]["uid"] = uid.into();
        serde_json::from_value::<Pod>(value).unwrap()
    };
    let put = |uid: &str| kinds.pods.put(&of(uid).metadata, of(uid));
    let moment = Duration::from_millis(50);
    put("first");
    let second = tokio::spawn({
        let known = known.clone();
        async move { known.published_pod("shop", "p1", "second").await }
    });
    assert!(timeout(moment, known.published_pod("shop", "p1", "first")).await.is_err(), "not published");
    published.send_replace(1);
    assert!(timeout(moment, known.published_pod("shop", "p1", "first")).await.unwrap().is_some());
    tokio::time::sleep(moment).await;
    assert!(!second.is_finished(), "its predecessor is another");
    put("second");
    tokio::time::sleep(moment).await;
    assert!(!second.is_finished(), "it is not published yet");
    published.send_replace(2);
    let found = timeout(Duration::from_secs(10), second).await.unwrap().unwrap().unwrap();
    assert_eq!(found.metadata.uid.as_deref(), Some("second"));
}

#[test]
fn a_list_of_what_was_there_changes_nothing() {
    let noted = Arc::new(Noted::default());
    let kept: Arc<Kept<u8>> = Kept::new("Pod", &noted);
    let object = |name: &str, uid: &str, version: &str| {
        let metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some(name.into()),
            namespace: Some("shop".into()),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..Default::default()
        };
        (metadata, 0)
    };
    let dirty = |kept: &Kept<u8>| {
        let mut names: Vec<(String, bool)> =
            kept.drain().into_iter().map(|((_, name), now)| (name, now.is_some())).collect();
        names.sort();
        names
    };
    assert!(!kept.is_listed() && kept.silent_for().is_none());
    kept.replace(vec![object("a", "1", "1"), object("b", "2", "2"), object("c", "3", "3")]);
    assert_eq!(dirty(&kept).len(), 3);
    // One is gone, one is another of the same name, one is as it was.
    kept.replace(vec![object("a", "9", "1"), object("c", "3", "3")]);
    assert_eq!(dirty(&kept), [("a".to_owned(), true), ("b".to_owned(), false)]);
    assert!(kept.is_listed() && kept.silent_for().is_some());
}

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
    /// The same, a moment later.
    Late,
    /// Does not even answer.
    Dead,
    /// Has forgotten where the watch is to go on from.
    Forgotten,
    /// Says that the pod of this number is there, and is silent then.
    Says(u64),
    /// Has nothing to say, and ends when its time has come.
    Ends,
    /// Is lost.
    Cut,
}

#[derive(Debug)]
struct Server {
    watches: Mutex<Vec<Watch>>,
    /// What was asked, in its order.
    asked: Mutex<Vec<String>>,
    /// The versions of its lists, and the numbers of their pods; the last one again and again.
    lists: Mutex<Vec<u64>>,
}

impl Server {
    fn new(lists: &[u64], watches: &[Watch]) -> Arc<Self> {
        let (watches, lists) = (Mutex::new(watches.to_vec()), Mutex::new(lists.to_vec()));
        Arc::new(Self { watches, asked: Mutex::default(), lists })
    }

    /// What was asked with this in its query.
    fn asked(&self, with: &str) -> Vec<String> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.contains(with)).cloned().collect()
    }
}

fn next<T: Copy>(of: &Mutex<Vec<T>>) -> T {
    let mut all = of.lock().unwrap();
    if all.len() > 1 { all.remove(0) } else { all[0] }
}

const WATCHES: &str = "watch=true";
const LISTS: &str = "limit=500";

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
            let number = next(&server.lists);
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
        let next = next(&server.watches);
        match next {
            Watch::Late => tokio::time::sleep(Duration::from_millis(200)).await,
            Watch::Dead => std::future::pending().await,
            _ => {}
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
            Watch::Ends => {
                tokio::time::sleep(PERIODS.watch).await;
                stream.write_all(b"0\r\n\r\n").await?;
                continue;
            }
            Watch::Cut => return Ok(()),
            Watch::Silent | Watch::Late | Watch::Dead => std::future::pending().await,
        };
        let event = format!("{event}\n");
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        std::future::pending::<()>().await;
    }
}

/// Follows the pods of a server until `until` is true of them.
async fn followed(server: &Arc<Server>, periods: Periods, until: impl Fn(&Kept<Pod>) -> bool) {
    let client = serve(Arc::clone(server)).await;
    let noted = Arc::new(Noted::default());
    let kept = Kept::new("Pod", &noted);
    let api = Api::<Pod>::all(client);
    let following = follow(&api, &kept, pod, periods);
    let reached = async {
        while !until(&kept) {
            tokio::time::sleep(Duration::from_millis(10)).await;
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
}

/// These pods, and no others.
fn has(names: &'static [&str]) -> impl Fn(&Kept<Pod>) -> bool {
    move |kept| {
        kept.objects().len() == names.len() && names.iter().all(|name| kept.object("shop", name).is_some())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_goes_silent_is_given_up_and_what_there_is_listed_anew() {
    let server = Server::new(&[1, 7], &[Watch::Silent, Watch::Dead, Watch::Says(8)]);
    followed(&server, PERIODS, has(&["p7", "p8"])).await;
    let watches = server.asked(WATCHES);
    let from = ["resourceVersion=1", "resourceVersion=7", "resourceVersion=7"];
    assert_eq!(watches.len(), from.len(), "{watches:?}");
    for (asked, from) in watches.iter().zip(from) {
        assert!(asked.contains(from) && asked.contains("timeoutSeconds=1"), "{from}: {asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_is_listed_anew() {
    // What is gone by then is gone here, too.
    let server = Server::new(&[1, 7], &[Watch::Forgotten, Watch::Silent]);
    followed(&server, PERIODS, has(&["p7"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_back_to_an_older_state_is_listed_anew() {
    // A watch from a version that does not exist yet is accepted, and says nothing.
    let server = Server::new(&[9, 3], &[Watch::Ends]);
    followed(&server, PERIODS, has(&["p3"])).await;
    assert!(server.asked(WATCHES)[0].contains("resourceVersion=9"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_happens_a_watch_goes_on_where_it_was_and_nothing_is_listed() {
    let server = Server::new(&[1], &[Watch::Ends, Watch::Ends, Watch::Ends, Watch::Says(2)]);
    followed(&server, PERIODS, has(&["p1", "p2"])).await;
    let watches = server.asked(WATCHES);
    assert!(watches.len() == 4 && watches.iter().all(|asked| asked.contains("resourceVersion=1")));
    assert_eq!(server.asked(LISTS).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_watch_there_is_a_new_list() {
    // The API server may have been restarted with an etcd that was put back.
    let server = Server::new(&[1, 7], &[Watch::Cut, Watch::Silent]);
    followed(&server, PERIODS, has(&["p7"])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_a_watch_was_accepted_does_not_count_as_heard() {
    let server = Server::new(&[1], &[Watch::Late]);
    let listed: Mutex<Option<Instant>> = Mutex::default();
    let long = Duration::from_secs(600);
    let periods = Periods { watch: long, margin: long, ..PERIODS };
    followed(&server, periods, |kept| {
        let mut listed = listed.lock().unwrap();
        if listed.is_none() && kept.is_listed() {
            *listed = Some(Instant::now());
        }
        // Long after the watch was accepted.
        let late = |since: &Instant| since.elapsed() > Duration::from_millis(600);
        let Some(since) = listed.filter(late) else { return false };
        let at_least = since.elapsed();
        assert!(kept.silent_for().unwrap() >= at_least);
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_fails_at_once_is_no_reason_to_list_without_a_pause() {
    let periods = Periods { again: Duration::from_secs(3600), longest: Duration::from_secs(3600), ..PERIODS };
    for at_once in [Watch::Forgotten, Watch::Cut] {
        let server = Server::new(&[1], &[at_once]);
        let asked = Mutex::new(None);
        followed(&server, periods, |_| {
            let mut asked = asked.lock().unwrap();
            if asked.is_none() && !server.asked(WATCHES).is_empty() {
                *asked = Some(Instant::now());
            }
            asked.is_some_and(|asked| asked.elapsed() > Duration::from_millis(300))
        })
        .await;
        assert_eq!((server.asked(LISTS).len(), server.asked(WATCHES).len()), (1, 1), "{at_once:?}");
    }
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

//! A pod's proxy as a process of its own, in the pod's network: it is killed, and comes back.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use super::capture::{Capture, contains};
use super::*;
use crate::mesh::Secured;

const FOLDER: &str = "HANDFAST_TEST_PROXY";
/// Set where the process has no rights at all.
const MAY_NOT: &str = "HANDFAST_TEST_PROXY_MAY_NOT";

/// The pods of this test: all are in the world of the process.
const PODS: [(&str, u8); 2] = [("web", 2), ("ledger", 3)];

/// The process itself: the program of these tests, in the network of web, until it is killed.
async fn be_the_proxy_of_web(folder: &Path) {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let credential = Credential::new(&read("chain"), &read("key"), &read("root")).unwrap();
    let mut world = World::default();
    for (name, last) in PODS {
        let v6 = std::net::Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into());
        let addresses = vec![Ipv4Addr::new(10, 77, 0, last).into(), v6.into()];
        world.apply(Change::Service(service(name, last)));
        world.apply(Change::Workload(workload(name, addresses)));
    }
    let (_keep, receiver) = watch::channel(Arc::new(world));
    let mesh = Mesh::start(Options { world: receiver, observer: Arc::new(|_| ()) });
    let address = Some(Ipv4Addr::new(10, 77, 0, 2).into());
    let rights = (std::env::var_os(MAY_NOT).is_none(), Probes::default());
    let _attached = attach(&mesh, "web", address, Arc::new(credential), None, rights).unwrap();
    println!("\nready");
    std::future::pending::<()>().await;
}

fn start(place: &Place, folder: &Path) -> Child {
    run(place.command(std::env::current_exe().unwrap().to_str().unwrap()), folder)
}

fn run(mut command: Command, folder: &Path) -> Child {
    let name = concat!(
        "mesh::tests::pods::process::",
        "a_pod_whose_proxy_is_killed_calls_and_is_called_no_more_until_it_is_back"
    );
    command.args(["--exact", "--nocapture", name]).env(FOLDER, folder).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"), "the process ended");
    child
}

fn credential(cluster: &Cluster) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = cluster.ca.pair(&["spiffe://cluster.local/ns/bank/sa/web"], |_| ());
    for (name, text) in [("chain", &chain), ("key", &key), ("root", &cluster.ca.root)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_proxy_is_killed_calls_and_is_called_no_more_until_it_is_back() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return be_the_proxy_of_web(Path::new(&folder)).await;
    }
    let Some(cluster) = Cluster::start() else { return };
    let (ledger, web, outside) = (cluster.join("ledger", 3), cluster.stranger(2), cluster.stranger(4));
    cluster.change(Change::Workload(workload("web", web.place.addresses())));
    let (server, own) = (ledger.serve(8080, ""), web.serve(8080, ""));
    let folder = credential(&cluster);
    web.namespace.run(|| Redirection::default().apply()).unwrap().unwrap();
    let url = format!("http://{}/open-sesame", ledger.at(8080));
    let works = async |calls: usize| {
        assert_eq!(web.curl(&url).await, (Some(0), format!("you are {}\n", web.place.v4)));
        assert_eq!(cluster.records(1).await[0].secured, Secured::Hbone);
        assert_eq!(outside.curl(&format!("http://{}/", web.at(8080))).await.0, Some(0));
        assert_eq!((server.callers().len(), own.callers().len()), (calls, calls));
    };
    let mut child = start(&web.place, folder.path());
    works(1).await;
    let mut open = web.connect(ledger.at(8080)).await.unwrap();
    open.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    open.read_exact(&mut back).await.unwrap();
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    let capture = Capture::start(&cluster.network);
    let ended = tokio::time::timeout(Duration::from_secs(5), open.read(&mut back)).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    // 7: the connection was refused; nothing went round the proxy, in either direction.
    assert_eq!(web.curl(&url).await.0, Some(7));
    assert_eq!(outside.curl(&format!("http://{}/", web.at(8080))).await.0, Some(7));
    assert!(!contains(&capture.end(), "open-sesame"));
    assert_eq!((server.callers().len(), own.callers().len()), (2, 1));
    cluster.records(1).await;
    let mut child = start(&web.place, folder.path());
    assert_eq!(web.curl(&url).await, (Some(0), format!("you are {}\n", web.place.v4)));
    assert_eq!(outside.curl(&format!("http://{}/", web.at(8080))).await.0, Some(0));
    child.kill().unwrap();
    child.wait().unwrap();
    // Without rules it is as any other pod.
    web.namespace.run(|| Redirection::default().remove()).unwrap().unwrap();
    assert_eq!(web.place.run("nft", &["list", "ruleset"]), "");
    assert_eq!(web.curl(&url).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_without_any_right_is_known_by_its_user_and_carries_all_but_the_clients_address() {
    let Some(cluster) = Cluster::start() else { return };
    let (ledger, web, outside) = (cluster.join("ledger", 3), cluster.stranger(2), cluster.stranger(4));
    cluster.change(Change::Workload(workload("web", web.place.addresses())));
    cluster.mode("ledger", &ledger, Mode::Strict);
    let (server, own) = (ledger.serve(8080, ""), web.serve(8080, ""));
    let folder = credential(&cluster);
    // Whoever it runs as has to reach the program and its files; the folders above are the builder's.
    let program = folder.path().join("proxy");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let redirection = Redirection { proxy_uid: Some(1337), ..Redirection::default() };
    web.namespace.run(move || redirection.apply()).unwrap().unwrap();
    let mut command = web.place.command("setpriv");
    command.args(["--reuid", "1337", "--regid", "1337", "--clear-groups", "--inh-caps=-all"]);
    command.args(["--bounding-set=-all", "--no-new-privs"]).arg(&program).env(MAY_NOT, "1");
    let mut child = run(command, folder.path());
    let url = format!("http://{}/", ledger.at(8080));
    assert_eq!(web.curl(&url).await, (Some(0), format!("you are {}\n", web.place.v4)));
    assert_eq!(cluster.records(1).await[0].secured, Secured::Hbone);
    assert_eq!(outside.curl(&format!("http://{}/", web.at(8080))).await.0, Some(0));
    assert_eq!((server.callers(), own.callers()), (vec![web.place.v4.into()], vec![web.place.v4.into()]));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_told_before_anything_is_carried() {
    let Some(cluster) = Cluster::start() else { return };
    let web = cluster.stranger(2);
    // The thread in the pod's network gives its rights up, and ends with it.
    web.namespace
        .run(|| {
            let none = rustix::thread::CapabilitySet::empty();
            let sets = rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
            rustix::thread::set_capabilities(None, sets).unwrap();
        })
        .unwrap();
    let (mesh, credential) = (cluster.mesh(), cluster.ca.credential("web"));
    let rights = (true, Probes::default());
    let refused = attach(&mesh, "web", None, credential, Some(web.namespace.clone()), rights);
    assert_eq!(refused.err().unwrap().kind(), std::io::ErrorKind::PermissionDenied);
}

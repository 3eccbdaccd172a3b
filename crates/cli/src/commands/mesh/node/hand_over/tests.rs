use std::os::fd::AsFd as _;

use super::*;

#[test]
fn a_network_goes_with_the_question_and_the_answer_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SOCKET);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let asked = Question {
        command: Command::Add,
        namespace: "shop".to_owned(),
        pod: "web".to_owned(),
        uid: "1".to_owned(),
        container: "c".to_owned(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
    };
    let network: OwnedFd = std::fs::File::open("/proc/self/ns/net").unwrap().into();
    let own = super::super::find::number(&network).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let (heard, network) = question(&mut stream).unwrap();
            assert_eq!((heard.pod.as_str(), heard.command), ("web", Command::Add));
            assert_eq!(super::super::find::number(&network.unwrap()).unwrap(), own);
            answer(&mut stream, &Answer::No("not now".to_owned())).unwrap();
        });
        let heard = ask(&path, &asked, Some(network.as_fd())).unwrap();
        assert_eq!(heard, Answer::No("not now".to_owned()));
    });
    assert!(ask(&folder.path().join("nobody"), &asked, None).is_err());
}

//! What is printed for people, and the parts that no program of its own tries.

use testkit::handfast::run;

use crate::mount::Place;

const ALL: [&str; 9] = ["nginx", "envoy", "go", "java-spring", "node", "python", "grpc", "postgres", "redis"];

#[test]
fn nothing_is_left_to_fill_in_and_no_key_is_printed() {
    let place = Place::new();
    for application in ALL {
        let document = place.document(application, "server", "client", 8443, "localhost:9443").to_string();
        assert!(!document.contains("{{"), "{application}: {document}");
        assert!(!document.contains("PRIVATE KEY"), "{application}");
        let done = run(testkit::binary!(), place.dir(), &["kube", "configure", "--for", application]);
        assert_eq!(done.code, Some(0), "{}", done.all());
        for wanted in
            ["/etc/handfast/server", "/etc/handfast/client", "restartPolicy: Always", "rollout restart"]
        {
            assert!(done.out().contains(wanted), "{application} lacks {wanted}:\n{}", done.out());
        }
    }
}

#[test]
fn what_would_break_out_of_a_file_is_refused() {
    let place = Place::new();
    for (flag, value) in [
        ("--server-dir", "/a'; rm -rf /"),
        ("--server-dir", "relative"),
        ("--client-dir", "/a\nb"),
        ("--upstream", "web;evil:1"),
        ("--upstream", "web"),
        ("--listen", "0"),
        ("--image", "a\"b"),
    ] {
        let done =
            run(testkit::binary!(), place.dir(), &["kube", "configure", "--for", "nginx", flag, value]);
        assert_eq!(done.code, Some(2), "{flag} {value}: {}", done.all());
    }
}

//! The sidecar of the ladder: its printed arguments, given to the real binary.

use std::process::Command;

use serde_json::Value;
use testkit::handfast::eventually;
use testkit::http_upstream::HttpUpstream;

use crate::mount::{Place, peek};
use crate::trial::{GET, Running};

#[test]
fn the_printed_sidecar_ends_mutual_tls_and_takes_renewed_files() {
    let (place, upstream, port) = (Place::new(), HttpUpstream::start(), testkit::free_port());
    let document = place.document("node", "server", "client", port, &upstream.addr().to_string());
    let rungs = document["renewal"].as_array().unwrap();
    let printed =
        rungs.iter().find(|rung| rung["way"] == "Handfast as a sidecar").unwrap()["file"].as_str().unwrap();
    let container: Value = serde_saphyr::from_str(printed).unwrap();
    let container = &container["initContainers"][0];
    assert_eq!(container["restartPolicy"], "Always");
    let arguments: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    let mut server = Running::start(Command::new(testkit::binary!()).args(&arguments), "TERM");
    server.wait(port);

    assert!(peek(&place, port, Some("client"), None, GET).accepted, "{}", server.program.output());
    assert!(!peek(&place, port, None, None, GET).accepted);
    assert!(!peek(&place, port, Some("other-client"), None, GET).accepted);
    let serial = place.renew_server();
    let limit = std::time::Duration::from_secs(15);
    let renewed = eventually(limit, || peek(&place, port, Some("client"), None, GET).serial == serial);
    assert!(renewed, "{}", server.program.output());
}

#[test]
fn every_printed_yaml_can_be_read() {
    let place = Place::new();
    for application in ["envoy", "java-spring", "redis"] {
        let document = place.document(application, "server", "client", 8443, "localhost:1");
        let files = document["files"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["name"].as_str().unwrap().ends_with(".yaml"));
        let more = document["renewal"].as_array().unwrap().iter().filter_map(|rung| rung["file"].as_str());
        for text in files.map(|file| file["text"].as_str().unwrap()).chain(more) {
            for part in text.split("\n---\n") {
                serde_saphyr::from_str::<Value>(part).unwrap_or_else(|error| panic!("{error}:\n{part}"));
            }
        }
    }
}

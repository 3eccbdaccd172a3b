use std::time::Duration;

use serde_json::json;
use testkit::http_upstream::HttpUpstream;

use crate::http::tests::{Served, snapshot, to_app};

#[test]
fn an_endpoint_that_answers_badly_is_left_out_until_it_answers_well() {
    let (ill, well) = (HttpUpstream::start(), HttpUpstream::start());
    let mut value = snapshot(to_app(), &[ill.addr(), well.addr()]);
    value["services"]["app"]["active_health"] =
        json!({"path": "/status/200", "interval": "100ms", "timeout": "1s", "rise": 1, "fall": 2});
    let served = Served::plain(value.clone());
    let asked =
        |app: &HttpUpstream, path: &str| app.asked().iter().filter(|asked| asked.path == path).count();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { super::start(served.state.services.values(), &served.metrics.http) });
    std::thread::sleep(Duration::from_millis(400));
    assert!(asked(&ill, "/status/200") > 0 && asked(&well, "/status/200") > 0);
    for _ in 0..4 {
        served.get("/");
    }
    assert_eq!((asked(&ill, "/"), asked(&well, "/")), (2, 2));
    let before = asked(&well, "/");
    value["services"]["app"]["active_health"]["path"] = json!("/status/500");
    value["services"]["app"]["endpoints"][1]["backup"] = json!(true);
    let served = Served::plain(value);
    runtime.block_on(async { super::start(served.state.services.values(), &served.metrics.http) });
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(served.get("/").status, 502, "all are ill");
    assert_eq!(asked(&well, "/"), before);
    let text = served.metrics.text();
    let line = format!("handfast_endpoint_healthy{{service=\"app\",endpoint=\"{}\"}} 0", ill.addr());
    assert!(text.contains(&line), "{text}");
}

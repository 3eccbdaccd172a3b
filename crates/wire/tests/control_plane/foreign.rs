//! A proxy and a control plane that are not ours: gRPC's own library for Python, with its own stubs of the `.proto` files.

use std::process::Command;
use std::time::Duration;

use handfast_wire::catalog::Type;
use handfast_wire::client::Target;
use model::mesh::policy::Scope;
use model::mesh::{Change, Mode, Tunnel};
use rcgen::SanType;
use serde_json::{Value, json};
use testkit::clients::python_with;
use testkit::program::Program;

use crate::messages::GRPC_TOOLS;
use crate::plane::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control_plane");

fn python(script: &str) -> Option<Command> {
    let mut command = Command::new(python_with(GRPC_TOOLS.0, GRPC_TOOLS.1)?);
    command.env("HANDFAST_PROTO", concat!(env!("CARGO_MANIFEST_DIR"), "/proto"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(format!("{FOLDER}/{script}"));
    Some(command)
}

/// The lines that a program has said so far; at least so many.
fn lines(program: &mut Program, count: usize) -> Vec<Value> {
    let whole = |text: &str| text.matches('\n').count();
    program.wait_for("lines", LIMIT, |program| whole(&program.stdout()) >= count);
    program.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_not_ours_gets_its_certificate_and_hears_every_change() {
    let Some(mut command) = python("client.py") else { return };
    let mut plane = Plane::start(world(2)).await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, plane.authority.pem()).unwrap();
    let mut program = Program::start(command.arg(plane.address.to_string()).arg(&root));
    let heard = lines(&mut program, 5);
    assert_eq!(heard[0], json!({ "chain": ["leaf", "issuing", "root"] }));
    let asked = plane.asked.lock().unwrap().remove(0);
    assert_eq!((asked.csr.as_str(), asked.validity), ("python's", Some(Duration::from_secs(86400))));
    assert_eq!(asked.impersonated.as_deref(), Some("spiffe://cluster.local/ns/shop/sa/web"));
    assert_eq!(asked.caller.cluster.as_deref(), Some("there"));
    for line in &heard[1..3] {
        assert_eq!(*line, json!({ "code": "UNAUTHENTICATED", "details": "nobody I know" }));
    }
    // Though it asked for them last: nobody has a workload without its policies.
    assert_eq!(heard[3]["type"], Type::Authorization.url());
    let policies = &heard[3]["resources"];
    assert_eq!(policies["shop/p"], json!({ "name": "p", "namespace": "shop", "scope": "NAMESPACE" }));
    let strict = json!({ "name": "strict", "namespace": "handfast_modes", "scope": "WORKLOAD_SELECTOR", "action": "DENY",
        "rules": [{ "clauses": [{ "matches": [{ "not_principals": [{ "presence": {} }] }] }] }] });
    assert_eq!(policies["handfast_modes/strict"], strict);
    let web = &heard[4]["resources"]["here//Pod/shop/web-0"]["workload"];
    assert_eq!(web["authorization_policies"], json!(["handfast_modes/strict"]));
    assert_eq!((&web["tunnel_protocol"], &web["addresses"]), (&json!("HBONE"), &json!(["CgEAAA=="])));
    assert_eq!(web["extensions"][0]["name"], "handfast.dev/modes");
    let service = &heard[4]["resources"]["shop/web.shop.svc.cluster.local"]["service"];
    assert_eq!(
        (&service["hostname"], &service["name"]),
        (&json!("web.shop.svc.cluster.local"), &json!("web"))
    );
    plane.change([Change::Workload(workload(2)), Change::WorkloadGone(workload(1).uid)]);
    let heard = lines(&mut program, 6).pop().unwrap();
    assert_eq!(heard["removed"], json!([workload(1).uid]));
    assert_eq!(heard["resources"].as_object().unwrap().keys().collect::<Vec<_>>(), [&workload(2).uid]);
    plane.change([Change::Policy(policy("no"))]);
    lines(&mut program, 7);
    wait("the refusal is seen", || {
        let status = plane.proxies.status(&plane.catalog.borrow());
        let refused = status[0].types.iter().find_map(|(_, progress, _)| progress.refused.clone());
        refused.is_some_and(|(why, _)| why == "python refuses shop/no")
    })
    .await;
    // An address, and two that nobody has.
    program.write(b"/10.96.0.7 far/10.96.0.7 nobody\n");
    let heard = lines(&mut program, 8).pop().unwrap();
    assert_eq!(heard["removed"], json!(["far/10.96.0.7", "nobody"]));
    assert!(heard["resources"].as_object().unwrap().contains_key("shop/web.shop.svc.cluster.local"));
    program.close_stdin();
    let done = program.finish(LIMIT);
    assert_eq!(done.code, Some(0), "{}", done.err());
    wait("nobody is there", || plane.proxies.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_proxy_listens_to_a_control_plane_that_is_not_ours_and_refuses_what_makes_no_sense() {
    let Some(mut command) = python("server.py") else { return };
    let plane = Plane::start(world(0)).await;
    let folder = tempfile::tempdir().unwrap();
    let issued = plane.authority.leaf("foreign", |params| {
        params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
    });
    let credential = issued.write(folder.path(), "foreign");
    let mut program = Program::start(command.arg(&credential.chain).arg(&credential.key));
    let port = lines(&mut program, 1)[0]["port"].as_u64().unwrap();
    let target = Target { address: format!("127.0.0.1:{port}"), ..plane.target() };
    let proxy = listen(target, Some("good"));
    let state = until_state(&proxy, "all of it", |state| state.ready).await;
    assert_eq!((state.generation.as_str(), state.refused), ("foreign", 2));
    let names: Vec<&str> = state.not_understood.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["foreign//Pod/shop/broken", "shop/strange"]);
    let world = proxy.world.borrow().clone();
    let first = world.workload("foreign//Pod/shop/w1").unwrap();
    assert_eq!((first.tunnel, first.modes.inbound.all), (Tunnel::Hbone, Mode::Permissive));
    assert_eq!(first.policies, ["shop/strict"]);
    assert_eq!(first.identity().unwrap().to_string(), "spiffe://cluster.local/ns/shop/sa/default");
    assert!(world.policy("shop/fine").is_some());
    let unknown: Vec<_> = world.unknown_policies().collect();
    assert_eq!(unknown, [("shop/strange", Scope::Namespace)]);
    let said = lines(&mut program, 5);
    let of = |url: &str, asked: bool| {
        let fits = |line: &&Value| line["type"] == url && (line["nonce"] == "") == asked;
        said[1..].iter().find(fits).unwrap().clone()
    };
    for of_type in Type::WORLD {
        let request = of(of_type.url(), true);
        assert_eq!((&request["token"], &request["subscribe"]), (&json!("Bearer good"), &json!([])));
    }
    let first = of(Type::Authorization.url(), true);
    assert_eq!(first["node"], "ztunnel~10.0.0.1~p.shop~shop.svc.cluster.local");
    let word = of(Type::Authorization.url(), false);
    assert_eq!(word["error"], "shop/strange: action: there is no action 7");
    let word = of(Type::Address.url(), false);
    let why = word["error"].as_str().unwrap();
    assert!(why.starts_with("foreign//Pod/shop/broken: ?: it cannot be decoded"), "{why}");
    drop(program);
    until_state(&proxy, "gone", |state| !state.connected).await;
    assert_eq!(proxy.world.borrow().workloads().count(), 2, "what was understood stays");
}

//! Every field of every message goes through `protoc` and comes back: the Rust types are what the `.proto` files say.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use handfast_wire::proto::{Any, Extension, certificate, discovery, mesh, security, workload};
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use testkit::clients::python_with;
use testkit::program::Program;

/// The version of gRPC's tools for Python: `protoc`, and stubs for the foreign clients.
pub const GRPC_TOOLS: (&str, &str) = ("grpcio-tools", "1.76.0");

fn protoc(python: &Path, verb: &str, name: &str, input: &[u8]) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = ["workload", "security", "status", "discovery", "certificate", "mesh"];
    let mut command = Command::new(python);
    command.args(["-m", "grpc_tools.protoc", "-I", folder, &format!("--{verb}={name}")]);
    command.args(files.map(|file| format!("{file}.proto")));
    let done = Program::run(&mut command, input, Duration::from_secs(60));
    assert_eq!(done.code, Some(0), "{name}: {}", done.err());
    assert!(!done.err().contains("warning: input is not"), "{}", done.err());
    done.stdout
}

/// Sends a message through, and looks that the text has everything that is expected, each at a line of its own.
fn through<M: Message + Default + PartialEq + std::fmt::Debug>(
    python: &Path,
    name: &str,
    message: &M,
    expected: &str,
) {
    let text = String::from_utf8(protoc(python, "decode", name, &message.encode_to_vec())).unwrap();
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(plain(&text), plain(expected), "{name}");
    let back = M::decode(&*protoc(python, "encode", name, text.as_bytes())).unwrap();
    assert_eq!(back, *message, "{name}");
}

fn any(number: u8) -> Any {
    Any { type_url: format!("t{number}"), value: vec![number].into() }
}

fn text(value: &str) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(value.into())) };
    Struct { fields: [("key".to_owned(), value)].into() }
}

#[test]
fn workloads_and_services_are_what_their_description_says() {
    let Some(python) = python_with(GRPC_TOOLS.0, GRPC_TOOLS.1) else { return };
    let by_name = |number: u32| workload::GatewayAddress {
        destination: Some(workload::Destination::Hostname(workload::NamespacedHostname {
            namespace: format!("gn{number}"),
            hostname: format!("gh{number}"),
        })),
        hbone_mtls_port: number,
    };
    let address =
        workload::NetworkAddress { network: "w".into(), address: b"abcd".to_vec(), length: Some(0) };
    let by_address = workload::GatewayAddress {
        destination: Some(workload::Destination::Address(address.clone())),
        hbone_mtls_port: 4,
    };
    let port =
        workload::Port { service_port: 5, target_port: 6, app_protocol: workload::AppProtocol::Grpc.into() };
    let extension = |number: u8| Extension { name: format!("e{number}"), config: Some(any(number)) };
    let own = workload::Workload {
        name: "n1".into(),
        namespace: "n2".into(),
        addresses: vec![b"abcd".to_vec(), b"0123456789abcdef".to_vec()],
        network: "n4".into(),
        tunnel_protocol: workload::TunnelProtocol::LegacyIstioMtls.into(),
        trust_domain: "n6".into(),
        service_account: "n7".into(),
        waypoint: Some(by_name(8)),
        node: "n9".into(),
        canonical_name: "n10".into(),
        canonical_revision: "n11".into(),
        workload_type: workload::WorkloadType::Job.into(),
        workload_name: "n13".into(),
        native_tunnel: true,
        authorization_policies: vec!["n16/a".into(), "n16/b".into()],
        status: workload::WorkloadStatus::Unhealthy.into(),
        cluster_id: "n18".into(),
        network_gateway: Some(by_address),
        uid: "n20".into(),
        hostname: "n21".into(),
        services: [("n22".to_owned(), workload::PortList { ports: vec![port] })].into(),
        application_tunnel: Some(workload::ApplicationTunnel {
            protocol: workload::TunnelKind::Proxy.into(),
            port: 23,
        }),
        locality: Some(workload::Locality { region: "r".into(), zone: "z".into(), subzone: "s".into() }),
        network_mode: workload::NetworkMode::HostNetwork.into(),
        extensions: vec![extension(26)],
        capacity: Some(27),
    };
    let message = workload::Address { r#type: Some(workload::AddressType::Workload(own)) };
    through(
        &python,
        "istio.workload.Address",
        &message,
        r#"workload {
          name: "n1" namespace: "n2" addresses: "abcd" addresses: "0123456789abcdef" network: "n4"
          tunnel_protocol: LEGACY_ISTIO_MTLS trust_domain: "n6" service_account: "n7"
          waypoint { hostname { namespace: "gn8" hostname: "gh8" } hbone_mtls_port: 8 }
          node: "n9" canonical_name: "n10" canonical_revision: "n11" workload_type: JOB workload_name: "n13"
          native_tunnel: true authorization_policies: "n16/a" authorization_policies: "n16/b" status: UNHEALTHY
          cluster_id: "n18"
          network_gateway { address { network: "w" address: "abcd" length: 0 } hbone_mtls_port: 4 }
          uid: "n20" hostname: "n21"
          services { key: "n22" value { ports { service_port: 5 target_port: 6 app_protocol: GRPC } } }
          application_tunnel { protocol: PROXY port: 23 } locality { region: "r" zone: "z" subzone: "s" }
          network_mode: HOST_NETWORK extensions { name: "e26" config { type_url: "t26" value: "\032" } }
          capacity { value: 27 }
        }"#,
    );
    let service = workload::Service {
        name: "s1".into(),
        namespace: "s2".into(),
        hostname: "s3".into(),
        addresses: vec![address],
        ports: vec![port],
        subject_alt_names: vec!["s6".into()],
        waypoint: Some(by_name(7)),
        load_balancing: Some(workload::LoadBalancing {
            routing_preference: [1, 2, 3, 4, 5, 6].to_vec(),
            mode: workload::BalancingMode::Failover.into(),
            health_policy: workload::HealthPolicy::AllowAll.into(),
        }),
        ip_families: workload::IpFamilies::Dual.into(),
        extensions: vec![extension(10)],
        canonical: true,
        ingress_use_waypoint: true,
        weighted_waypoints: vec![workload::WeightedWaypoint { destination: Some(by_name(13)), weight: 31 }],
        visibility: 14,
    };
    let message = workload::Address { r#type: Some(workload::AddressType::Service(service)) };
    through(
        &python,
        "istio.workload.Address",
        &message,
        r#"service {
          name: "s1" namespace: "s2" hostname: "s3" addresses { network: "w" address: "abcd" length: 0 }
          ports { service_port: 5 target_port: 6 app_protocol: GRPC } subject_alt_names: "s6"
          waypoint { hostname { namespace: "gn7" hostname: "gh7" } hbone_mtls_port: 7 }
          load_balancing {
            routing_preference: REGION routing_preference: ZONE routing_preference: SUBZONE
            routing_preference: NODE routing_preference: CLUSTER routing_preference: NETWORK
            mode: FAILOVER health_policy: ALLOW_ALL
          }
          ip_families: DUAL extensions { name: "e10" config { type_url: "t10" value: "\n" } }
          canonical: true ingress_use_waypoint: true
          weighted_waypoints {
            destination { hostname { namespace: "gn13" hostname: "gh13" } hbone_mtls_port: 13 } weight: 31
          }
          visibility: 14
        }"#,
    );
}

#[test]
fn policies_are_what_their_description_says() {
    let Some(python) = python_with(GRPC_TOOLS.0, GRPC_TOOLS.1) else { return };
    use security::MatchType::{Exact, Prefix, Presence, Suffix};
    let texts = |ways: &[security::MatchType]| -> Vec<security::StringMatch> {
        ways.iter().map(|way| security::StringMatch { match_type: Some(way.clone()) }).collect()
    };
    let address = |number: u8| vec![security::Address { address: vec![b'a'; 4], length: number.into() }];
    let account = |number: u8| {
        let (namespace, service_account) = (format!("an{number}"), format!("as{number}"));
        vec![security::ServiceAccountMatch { namespace, service_account }]
    };
    let extension = |number: u8| vec![Extension { name: format!("e{number}"), config: Some(any(number)) }];
    let part = security::Match {
        namespaces: texts(&[Exact("m1".into()), Presence(())]),
        not_namespaces: texts(&[Prefix("m2".into())]),
        principals: texts(&[Suffix("m3".into())]),
        not_principals: texts(&[Exact("m4".into())]),
        source_ips: address(5),
        not_source_ips: address(6),
        destination_ips: address(7),
        not_destination_ips: address(8),
        destination_ports: vec![9, 90],
        not_destination_ports: vec![10],
        service_accounts: account(11),
        not_service_accounts: account(12),
        extensions: extension(13),
    };
    let message = security::Authorization {
        name: "p1".into(),
        namespace: "p2".into(),
        scope: security::Scope::WorkloadSelector.into(),
        action: security::Action::Deny.into(),
        rules: vec![security::Rule { clauses: vec![security::Clause { matches: vec![part] }] }],
        dry_run: true,
        extensions: extension(7),
    };
    through(
        &python,
        "istio.security.Authorization",
        &message,
        r#"name: "p1" namespace: "p2" scope: WORKLOAD_SELECTOR action: DENY
        rules { clauses { matches {
          namespaces { exact: "m1" } namespaces { presence { } } not_namespaces { prefix: "m2" }
          principals { suffix: "m3" } not_principals { exact: "m4" }
          source_ips { address: "aaaa" length: 5 } not_source_ips { address: "aaaa" length: 6 }
          destination_ips { address: "aaaa" length: 7 } not_destination_ips { address: "aaaa" length: 8 }
          destination_ports: 9 destination_ports: 90 not_destination_ports: 10
          service_accounts { namespace: "an11" service_account: "as11" }
          not_service_accounts { namespace: "an12" service_account: "as12" }
          extensions { name: "e13" config { type_url: "t13" value: "\r" } }
        } } }
        dry_run: true extensions { name: "e7" config { type_url: "t7" value: "\007" } }"#,
    );
    for (scope, name) in [(security::Scope::Global, ""), (security::Scope::Namespace, "scope: NAMESPACE")] {
        let message = security::Authorization { scope: scope.into(), ..Default::default() };
        through(&python, "istio.security.Authorization", &message, name);
    }
}

#[test]
fn what_is_said_on_the_stream_is_what_its_description_says() {
    let Some(python) = python_with(GRPC_TOOLS.0, GRPC_TOOLS.1) else { return };
    let request = discovery::DeltaDiscoveryRequest {
        node: Some(discovery::Node {
            id: "o1".into(),
            cluster: "o2".into(),
            metadata: Some(text("o3")),
            build_version: "o5".into(),
        }),
        type_url: "r2".into(),
        resource_names_subscribe: vec!["r3".into(), "*".into()],
        resource_names_unsubscribe: vec!["r4".into()],
        initial_resource_versions: [("r5".to_owned(), "v5".to_owned())].into(),
        response_nonce: "r6".into(),
        error_detail: Some(discovery::Status { code: 3, message: "m".into(), details: vec![any(1)] }),
    };
    through(
        &python,
        "envoy.service.discovery.v3.DeltaDiscoveryRequest",
        &request,
        r#"node {
          id: "o1" cluster: "o2" metadata { fields { key: "key" value { string_value: "o3" } } } build_version: "o5"
        }
        type_url: "r2" resource_names_subscribe: "r3" resource_names_subscribe: "*"
        resource_names_unsubscribe: "r4" initial_resource_versions { key: "r5" value: "v5" } response_nonce: "r6"
        error_detail { code: 3 message: "m" details { type_url: "t1" value: "\001" } }"#,
    );
    let response = discovery::DeltaDiscoveryResponse {
        system_version_info: "a1".into(),
        resources: vec![discovery::Resource {
            version: "b1".into(),
            resource: Some(any(2)),
            name: "b3".into(),
            aliases: vec!["b4".into()],
            ttl: Some(prost_types::Duration { seconds: 6, nanos: 7 }),
            cache_control: Some(discovery::CacheControl { do_not_cache: true }),
        }],
        type_url: "a4".into(),
        nonce: "a5".into(),
        removed_resources: vec!["a6".into()],
    };
    through(
        &python,
        "envoy.service.discovery.v3.DeltaDiscoveryResponse",
        &response,
        r#"system_version_info: "a1"
        resources {
          version: "b1" resource { type_url: "t2" value: "\002" } name: "b3" aliases: "b4"
          ttl { seconds: 6 nanos: 7 } cache_control { do_not_cache: true }
        }
        type_url: "a4" nonce: "a5" removed_resources: "a6""#,
    );
}

#[test]
fn certificates_and_modes_are_what_their_description_says() {
    let Some(python) = python_with(GRPC_TOOLS.0, GRPC_TOOLS.1) else { return };
    let request = certificate::IstioCertificateRequest {
        csr: "c1".into(),
        validity_duration: i64::MAX,
        metadata: Some(text("c4")),
    };
    through(
        &python,
        "istio.v1.auth.IstioCertificateRequest",
        &request,
        r#"csr: "c1" validity_duration: 9223372036854775807
        metadata { fields { key: "key" value { string_value: "c4" } } }"#,
    );
    let response = certificate::IstioCertificateResponse { cert_chain: vec!["d1".into(), "d2".into()] };
    through(
        &python,
        "istio.v1.auth.IstioCertificateResponse",
        &response,
        r#"cert_chain: "d1" cert_chain: "d2""#,
    );
    let (disabled, permissive, strict) =
        (mesh::Mode::Disabled.into(), mesh::Mode::Permissive.into(), mesh::Mode::Strict.into());
    let modes = mesh::Modes {
        inbound: Some(mesh::PortModes { all: disabled, ports: [(80, strict)].into() }),
        outbound: Some(mesh::PortModes { all: strict, ports: [(443, permissive)].into() }),
    };
    through(
        &python,
        "handfast.mesh.v1.Modes",
        &modes,
        "inbound { all: DISABLED ports { key: 80 value: STRICT } }
        outbound { all: STRICT ports { key: 443 value: PERMISSIVE } }",
    );
    let trust = mesh::Trust {
        trust_domain: "t1".into(),
        roots: "t2".into(),
        issuer: "t3".into(),
        issuer_fingerprint: b"t4".to_vec(),
        step: u64::MAX,
    };
    through(
        &python,
        "handfast.mesh.v1.Trust",
        &trust,
        r#"trust_domain: "t1" roots: "t2" issuer: "t3" issuer_fingerprint: "t4" step: 18446744073709551615"#,
    );
}

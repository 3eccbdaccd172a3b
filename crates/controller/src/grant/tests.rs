use std::collections::{BTreeMap, BTreeSet};

use super::*;

#[derive(Default)]
struct Known {
    annotations: BTreeMap<String, String>,
    services: BTreeMap<(String, String), Vec<IpAddr>>,
    accounts: BTreeSet<(String, String)>,
    elsewhere: BTreeSet<(String, String)>,
}

impl World for Known {
    fn namespace_exists(&self, namespace: &str) -> bool {
        self.annotations.contains_key(namespace)
    }
    fn allowed_dns_names(&self, namespace: &str) -> Option<String> {
        self.annotations.get(namespace).cloned()
    }
    fn service(&self, namespace: &str, name: &str) -> Option<Vec<IpAddr>> {
        self.services.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
    fn points_elsewhere(&self, namespace: &str, name: &str) -> bool {
        self.elsewhere.contains(&(namespace.to_owned(), name.to_owned()))
    }
    fn service_account_exists(&self, namespace: &str, name: &str) -> bool {
        self.accounts.contains(&(namespace.to_owned(), name.to_owned()))
    }
}

/// A cluster with the namespaces shop and bank.
fn known(allowed: &str) -> Known {
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let mut known = Known::default();
    known.annotations.insert("shop".to_owned(), allowed.to_owned());
    known.annotations.insert("bank".to_owned(), String::new());
    known
        .services
        .insert(pair("shop", "web"), vec!["10.96.0.7".parse().unwrap(), "fd00::7".parse().unwrap()]);
    known.services.insert(pair("bank", "vault"), Vec::new());
    known.accounts.insert(pair("shop", "front"));
    known.accounts.insert(pair("bank", "teller"));
    known
}

fn domains() -> Domains {
    Domains::new(TrustDomain::default(), "cluster.local").unwrap()
}

fn spec() -> CertificateSpec {
    serde_json::from_value(serde_json::json!({"secretName": "s"})).unwrap()
}

fn granted(spec: &CertificateSpec, known: &Known) -> Result<Vec<String>> {
    names_granted("shop", spec, known, &domains())
        .map(|names| names.iter().map(ToString::to_string).collect())
}

fn dns(name: &str, allowed: &str) -> Result<Vec<String>> {
    granted(&CertificateSpec { dns_names: vec![name.to_owned()], ..spec() }, &known(allowed))
}

#[test]
fn a_service_gives_its_four_names_and_its_addresses_on_request() {
    let mut spec = CertificateSpec { services: vec!["web".to_owned()], ..spec() };
    let names = ["DNS:web", "DNS:web.shop", "DNS:web.shop.svc", "DNS:web.shop.svc.cluster.local"];
    assert_eq!(granted(&spec, &known("")).unwrap(), names);
    spec.cluster_ips = true;
    spec.service_account = Some("front".to_owned());
    let all = granted(&spec, &known("")).unwrap();
    assert_eq!(all[0], "URI:spiffe://cluster.local/ns/shop/sa/front");
    assert_eq!(all[5..], ["IP:10.96.0.7", "IP:fd00::7"]);
}

#[test]
fn what_does_not_exist_in_the_own_namespace_is_refused() {
    for (service, account) in [(Some("vault"), None), (Some("nope"), None), (None, Some("teller"))] {
        let spec = CertificateSpec {
            services: service.into_iter().map(str::to_owned).collect(),
            service_account: account.map(str::to_owned),
            ..spec()
        };
        let why = granted(&spec, &known("*.cluster.local, *.svc, *.bank.svc")).unwrap_err().to_string();
        assert!(why.contains("in the namespace shop"), "{why}");
    }
    let nothing = granted(&spec(), &known("")).unwrap_err();
    assert!(nothing.to_string().contains("asks for no name"), "{nothing}");
}

#[test]
fn names_of_the_api_server_of_every_machine_and_of_somebody_elses_address_are_refused() {
    let mut known = known("");
    known.annotations.insert("default".to_owned(), String::new());
    for (namespace, name) in [("default", "kubernetes"), ("shop", "localhost"), ("shop", "mirror")] {
        let address = vec!["10.96.0.1".parse().unwrap()];
        known.services.insert((namespace.to_owned(), name.to_owned()), address);
    }
    known.elsewhere.insert(("shop".to_owned(), "mirror".to_owned()));
    for (namespace, service, why) in [
        ("default", "kubernetes", "the API server's"),
        ("shop", "localhost", "every machine's own"),
        ("shop", "mirror", "ExternalName"),
    ] {
        let by_service = CertificateSpec { services: vec![service.to_owned()], cluster_ips: true, ..spec() };
        let mut asked = vec![by_service];
        for name in [
            service.to_owned(),
            format!("{service}.{namespace}"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("pod.{service}.{namespace}.svc.cluster.local"),
        ] {
            asked.push(CertificateSpec { dns_names: vec![name], ..spec() });
        }
        for spec in asked {
            let refused = names_granted(namespace, &spec, &known, &domains()).unwrap_err();
            assert!(refused.to_string().contains(why), "{spec:?}: {refused}");
        }
    }
    // Elsewhere it is a name as any other.
    known.services.insert(("shop".to_owned(), "kubernetes".to_owned()), Vec::new());
    let spec = CertificateSpec { services: vec!["kubernetes".to_owned()], ..spec() };
    assert!(granted(&spec, &known).is_ok());
}

#[test]
fn other_names_need_the_annotation() {
    assert!(dns("www.example.com", "").unwrap_err().to_string().contains("allowed-dns-names"));
    assert_eq!(dns("WWW.Example.com", "www.example.com").unwrap(), ["DNS:www.example.com"]);
    assert_eq!(dns("a.b.example.com", "x.test, *.example.com").unwrap(), ["DNS:a.b.example.com"]);
    assert_eq!(dns("*.example.com", "*.example.com").unwrap(), ["DNS:*.example.com"]);
    for (name, allowed) in [
        ("example.com", "*.example.com"),
        ("badexample.com", "*.example.com"),
        ("*.example.com", "www.example.com"),
        ("example.com.evil.test", "*.example.com"),
        ("www.example.com", "*"),
        ("www.example.com", "*.com"),
        ("www.example.com", "."),
        ("localhost", "*.localhost"),
    ] {
        assert!(dns(name, allowed).is_err(), "{name} must not be allowed by {allowed}");
    }
}

#[test]
fn names_of_other_namespaces_are_never_granted_whatever_the_annotation_says() {
    let all = "*.bank.svc, *.bank.svc.cluster.local, vault.bank, *.vault.bank, *.svc.cluster.local, *.cluster.local, \
               vault.bank.svc, x.vault.bank, later.bank, cluster.local, svc.cluster.local, a.b.pod, web.svc, bank.svc";
    for name in [
        "vault.bank.svc",
        "vault.bank.svc.cluster.local",
        "VAULT.bank.SVC.Cluster.LOCAL",
        "vault.bank.svc.cluster.local.",
        "*.bank.svc",
        "*.bank.svc.cluster.local",
        "*.svc.cluster.local",
        "*.cluster.local",
        "*.svc",
        "*.local",
        "cluster.local",
        "svc.cluster.local",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "vault.bank",
        "later.bank",
        "x.vault.bank",
        "*.vault.bank",
        "10-0-0-1.bank.pod.cluster.local",
        "a.b.pod",
        "web.svc",
        "bank.svc",
    ] {
        assert!(dns(name, all).is_err(), "{name}");
    }
}

#[test]
fn pods_below_an_own_service_are_granted_without_annotation() {
    for name in ["web-0.web.shop.svc.cluster.local", "*.web.shop.svc", "web.shop", "web", "web-0.web.shop"] {
        assert!(dns(name, "").is_ok(), "{name}");
    }
    for name in ["a.b.web.shop.svc", "*.shop.svc", "nope.shop.svc", "x.nope.shop.svc", "nope.shop", "nope"] {
        assert!(dns(name, "").is_err(), "{name}");
    }
}

#[test]
fn what_is_read_as_an_address_or_is_no_name_is_refused() {
    let all = "10.0.0.1, 1.2, 0x7f.1, *.example.com, www.example.com";
    for name in [
        "10.0.0.1",
        "1.2",
        "web.127",
        "a.0x7f",
        "::1",
        "www.example.com.",
        "wwẉ.example.com",
        "",
        ".",
        "a..b",
        "*",
        "*.*.a.b",
    ] {
        assert!(dns(name, all).is_err(), "{name}");
    }
}

#[test]
fn another_cluster_domain_is_guarded_as_well() {
    let domains = Domains::new(TrustDomain::default(), "K8s.Example.com.").unwrap();
    let known = known("*.example.com, *.svc");
    let ask = |name: &str| {
        let spec = CertificateSpec { dns_names: vec![name.to_owned()], ..spec() };
        names_granted("shop", &spec, &known, &domains)
    };
    assert!(ask("vault.bank.svc.k8s.example.com").is_err());
    assert!(ask("*.k8s.example.com").is_err());
    assert!(ask("web.shop.svc.k8s.example.com").is_ok());
    assert!(ask("www.example.com").is_ok());
    assert!(Domains::new(TrustDomain::default(), "*.local.x").is_err());
    assert!(Domains::new(TrustDomain::default(), "").is_err());
}

#[test]
fn a_slash_in_a_service_account_moves_nothing() {
    let mut known = known("");
    known.accounts.insert(("shop".to_owned(), "a/../../ns/bank/sa/teller".to_owned()));
    let spec = CertificateSpec { service_account: Some("a/../../ns/bank/sa/teller".to_owned()), ..spec() };
    assert!(granted(&spec, &known).is_err());
}

#[test]
fn a_thousand_names_are_refused() {
    let spec =
        CertificateSpec { dns_names: (0..1000).map(|i| format!("a{i}.example.com")).collect(), ..spec() };
    assert!(granted(&spec, &known("*.example.com")).is_err());
}

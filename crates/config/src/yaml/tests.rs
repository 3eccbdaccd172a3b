use model::codes::Coded;

use super::*;

const SITE: &str = r#"version: 1
admin: 127.0.0.1:9900
listeners:
  - name: site
    bind: [":8443"]
    tls:
      certificates: [{chain: site.crt, key: site.key}]
      min_version: 1.3
      clients: {mode: required, ca: [ca.crt], refuse: {status: 403}}
    hosts:
      - names: [example.com, "*.example.com"]
        routes:
          - path: /
            proxy: {service: app}
          - path: "~ \\.php$"
            respond: {status: 404, body: no}
services:
  app:
    endpoints: [{address: "127.0.0.1:8080"}]
"#;

fn messages(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.findings().iter().map(|finding| finding.to_string()).collect(),
    }
}

/// Replaces a piece of the good site, which must be there.
fn with(from: &str, to: &str) -> String {
    assert!(SITE.contains(from), "{from}");
    SITE.replacen(from, to, 1)
}

#[test]
fn a_good_file_is_read_and_scalars_are_what_the_type_wants() {
    let snapshot = parse(SITE).unwrap();
    let listener = &snapshot.listeners[0];
    assert_eq!(listener.tls.as_ref().unwrap().min_version, Some(model::snapshot::TlsVersion::V1_3));
    let respond = listener.hosts[0].routes[1].respond.as_ref().unwrap();
    assert_eq!(respond.body.literal(), Some("no"));
    assert_eq!(snapshot.services["app"].endpoints[0].weight, 1);
}

#[test]
fn what_is_written_reads_back_the_same() {
    let snapshot = parse(SITE).unwrap();
    let text = write(&snapshot).unwrap();
    assert!(!text.contains("limits"), "defaults are left out:\n{text}");
    assert_eq!(parse(&text).unwrap(), snapshot, "{text}");
}

#[test]
fn an_unknown_key_is_shown_with_line_column_caret_and_suggestion() {
    let error = parse(&with("certificates:", "certificats:")).unwrap_err();
    let finding = &error.findings()[0];
    assert_eq!(finding.code.id, "HF2002");
    let place = finding.place.as_ref().unwrap();
    assert_eq!((place.line(), place.column()), (7, 7));
    let drawn = error.drawn(false).unwrap();
    assert!(drawn.contains("handfast.yaml:7:7"), "{drawn}");
    assert!(drawn.contains("^^^^^^^^^^^"), "{drawn}");
    assert!(drawn.contains("did you mean `certificates`?"), "{drawn}");
    assert!(error.is_usage());
}

#[test]
fn all_errors_of_types_are_shown_at_once() {
    let text = with("names:", "nmes:").replace("min_version: 1.3", "min_version: 1.1").replace("8080", "\"");
    assert_eq!(messages(&text).len(), 1, "wrong syntax comes alone");
    let text = with("names:", "nmes:")
        .replace("min_version: 1.3", "min_version: 1.1")
        .replace("status: 404", "status: four")
        .replace("- name: site", "- nam: site");
    let found = messages(&text);
    let text = found.join("\n");
    for part in [
        "4:5: unknown key `nam`",
        "8:20: unknown choice `1.1`",
        "11:9: unknown key `nmes`",
        "16:31: expected",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("is missing"), "a removed key does not count as missing:\n{text}");
}

#[test]
fn what_makes_no_sense_is_refused_at_its_place() {
    for (from, to, code, part) in [
        ("service: app}", "service: ap}", "HF2005", ":14:30: no service is named \"ap\""),
        ("127.0.0.1:9900", "0.0.0.0:9900", "HF2009", ":2:8: the admin address"),
        ("status: 403}", "status: 503}", "HF2003", "a refusal is answered with 400 to 499"),
        ("ca: [ca.crt], ", "", "HF2004", "no authority is trusted"),
        ("respond: {", "files: {root: x}\n            respond: {", "HF2007", "one action"),
        ("min_version: 1.3", "min_version: 1.3\n      max_version: 1.2", "HF2007", "no version is left"),
        ("min_version: 1.3", "ciphers: [TLS_AES_128_GCM_SHA25]", "HF2003", "is not a cipher suite"),
        ("min_version: 1.3", "groups: [P-521]", "HF2003", "is not a key exchange group"),
        ("body: no", "body: $remote_adr", "HF2026", "$remote_adr is not known"),
        ("127.0.0.1:8080", "127.0.0.1", "HF2003", "is not the address of an endpoint"),
        ("\\\\.php$", "(", "HF2003", "regular expression"),
        ("version: 1\n", "version: 2\n", "HF2011", ":1:10: version 2"),
        ("version: 1\n", "", "HF2011", "`version` is missing"),
        (
            "proxy: {",
            "addresses: [{allow: 10.0.0.0/40}]\n            proxy: {",
            "HF2003",
            "neither an address",
        ),
        (
            "services:\n",
            "  - name: site\n    bind: [\"127.0.0.1:8443\"]\n    tcp: {routes: [{service: app}]}\nservices:\n",
            "HF2006",
            "collides with",
        ),
    ] {
        let error = parse(&with(from, to)).expect_err(to);
        let all = error.to_string();
        assert!(all.contains(part), "{to}: {all}");
        assert!(
            error.findings().iter().any(|finding| finding.code.id == code),
            "{to}: {:?}",
            error.findings()
        );
    }
}

#[test]
fn an_alias_bomb_deep_nesting_and_a_second_document_are_refused() {
    let mut bomb = String::from("a: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("b{level}: &a{level} [{}]\n", vec![alias; 9].join(","));
    }
    assert!(messages(&bomb)[0].contains("more than"), "{:?}", messages(&bomb));
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"- ".repeat(100_000)).is_err());
    assert!(parse("version: 1\n---\nversion: 1\n").unwrap_err().to_string().contains("second document"));
    assert!(parse("a: 1\na: 2\n").unwrap_err().to_string().contains("stands twice"));
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = with(
        "app:\n",
        "base: &base\n    endpoints: [{address: \"127.0.0.1:1\"}]\n    protocol: http2\n  app:\n    <<: *base\n",
    );
    let snapshot = parse(&text).unwrap();
    assert_eq!(snapshot.services["app"].protocol, model::snapshot::Protocol::Http2);
    assert_eq!(snapshot.services["app"].endpoints[0].address, "127.0.0.1:8080");
}

#[test]
fn odd_text_never_panics() {
    for text in [
        "",
        "\0",
        "\u{feff}version: 1",
        "? a",
        "- - -",
        "!!x y",
        "a: *b",
        "version: 1\nlisteners: {}",
        "&a *a",
        "%YAML 1.2",
    ] {
        let _ = parse(text);
    }
}

#[test]
fn an_empty_allow_is_refused_and_one_beside_optional_is_warned_of() {
    let found = messages(&with("refuse: {status: 403}}", "allow: []}"));
    assert!(matches!(&found[..], [one] if one.contains(":9:") && one.contains("allow")), "{found:?}");
    let warnings = |mode: &str, allow: &str| {
        let text = with("{mode: required, ca: [ca.crt],", &format!("{{mode: {mode}, ca: [ca.crt], {allow}"));
        let (_, notes) = read(&Source::new("handfast.yaml", text), &Files::Unchecked).unwrap();
        notes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let optional = warnings("optional", "allow: [{dns: a.test}],");
    assert!(
        matches!(&optional[..], [one] if one.contains(":9:") && one.contains("without a certificate")),
        "{optional:?}"
    );
    assert_eq!(warnings("required", "allow: [{dns: a.test}],"), Vec::<String>::new());
    assert_eq!(warnings("optional", ""), Vec::<String>::new());
}

#[test]
fn all_addresses_are_those_of_ipv4_and_ipv6() {
    let binds = |text: &str| {
        let snapshot = parse(&with("\":8443\"", text)).unwrap();
        snapshot.listeners[0].bind.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(binds("\":8443\""), ["0.0.0.0:8443", "[::]:8443"]);
    assert_eq!(binds("\"*:8443\", \"unix:/x\""), ["0.0.0.0:8443", "[::]:8443", "unix:/x"]);
    assert_eq!(binds("\"0.0.0.0:8443\""), ["0.0.0.0:8443"]);
    assert_eq!(binds("\"127.0.0.1:8443\""), ["127.0.0.1:8443"]);
}

#[test]
fn routes_of_one_path_are_told_apart_by_their_methods() {
    let site = |second: &str| {
        let routes = format!(
            "          - path: /\n            methods: [GET]\n            proxy: {{service: app}}\n          - path: /\n            {second}respond: {{status: 200}}\n          - path: \"~"
        );
        with("          - path: /\n            proxy: {service: app}\n          - path: \"~", &routes)
    };
    assert_eq!(messages(&site("methods: [POST]\n            ")), Vec::<String>::new());
    assert_eq!(messages(&site("")), Vec::<String>::new());
    assert!(!messages(&site("methods: [GET, POST]\n            ")).is_empty(), "GET is meant twice");
}

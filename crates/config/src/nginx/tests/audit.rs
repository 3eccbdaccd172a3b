//! What nginx refuses or makes otherwise, each found by somebody who looked for it.

use super::*;

fn refused_at(text: &str, words: &str) {
    let error = parse(text).expect_err(text);
    let found = error.findings().iter().find(|finding| finding.to_string().contains(words));
    let found = found.unwrap_or_else(|| panic!("{text}: {error}"));
    assert!(found.place.is_some(), "{text}: no place");
}

#[test]
fn what_nginx_refuses_is_refused_with_its_place() {
    for (text, words) in [
        ("upstream x { } server { listen 80; return 200; }", "has no server"),
        ("upstream x { keepalive 4; } server { listen 80; return 200; }", "has no server"),
        ("server { listen 127.0.0.1:0; return 200; }", "not an address to listen on"),
        ("server { listen 0; return 200; }", "not an address to listen on"),
        ("map $host $a { a 1; A 2; } server { listen 80; return 200 $a; }", "stands twice"),
        ("map $host $a { ~a 1; ~a 2; } server { listen 80; return 200 $a; }", "stands twice"),
    ] {
        refused_at(text, words);
    }
    accept("map $host $a { ~a 1; ~A 2; ~*a 3; a 4; } server { listen 80; return 200 $a; }");
}

#[test]
fn an_address_beside_all_addresses_is_joined_or_refused_with_its_place() {
    let (snapshot, notes) = accept("server { listen 80; listen 127.0.0.1:80; return 200; }");
    assert_eq!(snapshot.listeners[0].bind.len(), 1);
    assert!(notes.iter().any(|note| note.contains("a part of *:80")), "{notes:?}");
    refused_at(
        "server { listen 80; return 200; } server { listen 127.0.0.1:80; return 201; }",
        "a part of *:80",
    );
    accept("server { listen 80; return 200; } server { listen [::1]:80; return 201; }");
}

#[test]
fn what_may_stand_twice_does() {
    let (snapshot, _) = accept(
        "env A; env B; server { listen 80; gzip on; gzip_types text/css; gzip_types text/xml text/css; index a; index b; }",
    );
    let route = &snapshot.listeners[0].hosts[0].routes[0];
    assert_eq!(route.compression.as_ref().unwrap().types, ["text/html", "text/css", "text/xml"]);
    assert_eq!(route.files.as_ref().unwrap().index.len(), 2);
}

#[test]
fn a_host_that_is_no_upstream_is_warned_of() {
    let (_, notes) = accept(
        "upstream backend { server 127.0.0.1:1; } server { listen 80; location / { proxy_pass http://backnd; } }",
    );
    assert!(
        notes.iter().any(|note| note.contains(":1:") && note.contains("did you mean `backend`")),
        "{notes:?}"
    );
    for target in ["localhost", "127.0.0.1:1", "app.example", "backend", "app:8080"] {
        let (_, notes) = accept(&format!(
            "upstream backend {{ server 127.0.0.1:1; }} server {{ listen 80; location / {{ proxy_pass http://{target}; }} }}"
        ));
        assert!(!notes.iter().any(|note| note.contains("no upstream")), "{target}: {notes:?}");
    }
}

#[test]
fn bodies_are_limited_by_host() {
    let (snapshot, _) = accept(
        "http { server { listen 80; server_name a; client_max_body_size 100m; return 200; }
                server { listen 80; server_name b; return 200; }
                server { listen 81; client_max_body_size 2m; return 200; } }",
    );
    let [two, one] = &snapshot.listeners[..] else { panic!("{:?}", snapshot.listeners) };
    assert_eq!(two.limits.body_bytes, model::units::Size(1 << 20));
    assert_eq!(two.hosts[0].body_bytes, Some(model::units::Size(100 << 20)));
    assert_eq!(two.hosts[1].body_bytes, None);
    assert_eq!((one.limits.body_bytes, one.hosts[0].body_bytes), (model::units::Size(2 << 20), None));
}

#[test]
fn headers_are_hidden_and_passed_as_nginx_does() {
    let proxy = |content: &str| {
        let content = format!("listen 80; {content} location / {{ proxy_pass http://127.0.0.1:1; }}");
        server(&content).listeners.remove(0).hosts.remove(0).routes.remove(0).proxy.unwrap()
    };
    let plain = proxy("proxy_hide_header X-Own;");
    assert!(plain.hide_headers.iter().any(|name| name == "X-Own"));
    assert!(plain.hide_headers.iter().any(|name| name == "X-Accel-Redirect"));
    assert!(!plain.underscores);
    let passed = proxy("proxy_pass_header x-accel-redirect; underscores_in_headers on;");
    assert!(!passed.hide_headers.iter().any(|name| name == "X-Accel-Redirect"));
    assert!(passed.underscores);
}

#[test]
fn an_alias_that_ends_within_a_name_is_warned_of() {
    let notes = |location: &str| accept(&format!("server {{ listen 80; {location} }}")).1;
    for location in
        ["location /st { alias www; }", "location /st { alias www/; }", "location /st/ { alias www; }"]
    {
        let notes = notes(location);
        assert!(
            notes.iter().any(|note| note.contains(":1:") && note.contains("letter by letter")),
            "{notes:?}"
        );
    }
    for location in
        ["location /st/ { alias www/; }", "location = /st { alias www; }", "location ~ /s(.) { alias w$1; }"]
    {
        assert!(!notes(location).iter().any(|note| note.contains("letter by letter")), "{location}");
    }
}

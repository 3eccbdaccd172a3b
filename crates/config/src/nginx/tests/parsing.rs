use super::*;

#[test]
fn both_examples_of_the_mission_are_read_word_for_word() {
    let one_way = "server { listen 443 ssl; server_name example.com;\n         ssl_certificate server.crt; \
                   ssl_certificate_key server.key;\n         location / { } }";
    let (snapshot, notes) = accept(one_way);
    assert!(notes.is_empty(), "{notes:?}");
    let listener = &snapshot.listeners[0];
    assert_eq!(listener.bind[0].to_string(), "0.0.0.0:443");
    assert_eq!(listener.hosts[0].names[0].to_string(), "example.com");
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].chain, Path::new("server.crt"));
    assert!(tls.clients.is_none());
    assert!(listener.hosts[0].routes[0].files.is_some());

    let mutual =
        one_way.replacen("location", "ssl_client_certificate ca.crt;  ssl_verify_client on; location", 1);
    let clients = accept(&mutual).0.listeners[0].tls.clone().unwrap().clients.unwrap();
    assert_eq!(clients.mode, model::policy::ClientMode::Required);
    assert_eq!(clients.ca, [Path::new("ca.crt")]);
    assert_eq!(clients.depth, 1);
    assert_eq!(clients.refuse, model::policy::Refusal::Status(400));
}

#[test]
fn wrong_syntax_is_shown_at_its_place() {
    for (text, place, message) in [
        ("server { listen 80 }", "1:10", "the directive is not ended"),
        ("server { listen 80;", "1:1", "the block `server` is not closed"),
        ("server { listen 80; } }", "1:23", "a closing brace without an opening one"),
        ("server { listen 80;; }", "1:20", "a semicolon without a directive"),
        ("server {\n  root \"x;\n}", "2:8", "this quote is not closed"),
        ("server { root \"a\"b; }", "1:18", "a closing quote is followed by"),
        ("{ }", "1:1", "a block without a directive"),
        ("server { listen 80; location / ; }", "1:21", "`location` opens a block"),
        ("server { listen 80 { } }", "1:10", "`listen` does not open a block"),
    ] {
        let found = refuse(text);
        assert!(found[0].1.contains(&format!(":{place}: {message}")), "{text}: {found:?}");
    }
}

#[test]
fn what_is_not_carried_out_is_refused_by_name_and_never_skipped() {
    for (text, code, part) in [
        ("server { lisen 80; }", "HF2021", "1:10: unknown directive `lisen`"),
        ("server { fastcgi_pass x; }", "HF2023", "1:10: `fastcgi_pass` is not allowed here"),
        ("server { location / { fastcgi_pass x; } }", "HF2022", "1:23: `fastcgi_pass`"),
        ("server { location / { content_by_lua_block { x = 1 } } }", "HF2022", "scripts are not run"),
        (
            "http { proxy_cache_path x keys_zone=a:1m; server { listen 1; } }",
            "HF2022",
            "1:8: `proxy_cache_path`",
        ),
        ("server { satisfy any; location / { } }", "HF2022", "`satisfy`"),
        (
            "server { ssl_verify_client maybe; listen 1 ssl; ssl_certificate a; ssl_certificate_key b; }",
            "HF2025",
            "maybe",
        ),
        ("server { listen 80 sssl; }", "HF2025", "1:20: \"sssl\" is not an option"),
        ("server { listen 80; root a b; }", "HF2024", "`root` takes one argument, not 2"),
        ("server { listen 80; root a; root b; }", "HF2006", "`root` stands twice"),
        ("events { root x; }", "HF2023", "not allowed here"),
        ("server { listen 80; if (-f $request_filename) { return 200; } }", "HF2022", "files are not tested"),
        ("server { listen 80; location / { if ($scheme = http) { root x; } } }", "HF2022", "within `if`"),
        ("server { listen 80; return 200 $nope; }", "HF2026", "1:32: the variable $nope is not known"),
        ("server { listen 80; location ~ ^/(?!x) { } }", "HF2027", "1:34: negative look-ahead"),
        ("server { listen 80; location ~ (a)\\1 { } }", "HF2027", "1:35: a back-reference"),
        ("server { listen 80; location ~ a++b { } }", "HF2027", "possessive"),
        ("server { listen 80; rewrite ( /x; }", "HF2003", "regular expression"),
        (
            "server { listen 80 ssl; ssl_certificate a; ssl_certificate_key b; ssl_ciphers RC4-SHA; }",
            "HF2028",
            "none of these",
        ),
        (
            "server { listen 80 ssl; ssl_certificate a; ssl_certificate_key b; ssl_protocols TLSv1; }",
            "HF2028",
            "no version",
        ),
        ("server { listen 80 ssl; }", "HF2004", "no certificate"),
        (
            "server { listen 80; location / { proxy_pass https://a; proxy_ssl_verify on; } }",
            "HF2004",
            "needs `proxy_ssl_trusted",
        ),
        (
            "server { listen 80; location / { proxy_pass http://$http_x; } }",
            "HF2022",
            "depends on the request",
        ),
        ("server { listen 80; location ~ x { proxy_pass http://a/b; } }", "HF2025", "cannot have a path"),
        ("server { listen 80; location / { limit_req zone=none; } }", "HF2005", "no limit_req_zone"),
        ("server { listen 80; location / { auth_basic x; } }", "HF2004", "auth_basic_user_file"),
        ("server { listen 80; location / { } location / { } }", "HF2006", "another location /"),
        ("server { listen 80; location /a/ { location /b/ { } } }", "HF2023", "outside of the location"),
        ("include x.conf;", "HF2029", "no folder to include from"),
        ("user www;", "HF2004", "no server block"),
        ("load_module modules/ngx_http_perl_module.so; http { server { } }", "HF2022", "cannot be loaded"),
    ] {
        let found = refuse(text);
        assert!(found.iter().any(|(id, shown)| *id == code && shown.contains(part)), "{text}: {found:?}");
    }
}

#[test]
fn all_that_is_wrong_is_shown_at_once() {
    let found = refuse("server { listen 80; ssl_certficate a; nonsense; root; }");
    assert_eq!(found.len(), 3, "{found:?}");
    let error = parse("server { ssl_certficate a; }").unwrap_err();
    let drawn = error.drawn(false).unwrap();
    assert!(drawn.contains("^^^^") && drawn.contains("did you mean `ssl_certificate`?"), "{drawn}");
}

#[test]
fn what_needs_no_counterpart_is_noted() {
    let (_, notes) = accept(
        "worker_rlimit_nofile 1024; user www; http { tcp_nopush on; sendfile on; server { listen 80; } }",
    );
    for word in ["worker_rlimit_nofile", "user", "tcp_nopush", "sendfile"] {
        assert!(notes.iter().any(|note| note.contains(&format!("`{word}`"))), "{word}: {notes:?}");
    }
    let (_, notes) = accept("server { listen 80; location / { proxy_pass https://10.0.0.1; } }");
    assert!(notes.iter().any(|note| note.contains("NOT verified") && note.contains(":1:34")), "{notes:?}");
}

#[test]
fn words_are_unquoted_and_unescaped_as_nginx_does() {
    let snapshot = server(r#"listen 80; return 200 "a \"b\" 'c' \\ \t ${scheme}x";"#);
    let model::snapshot::Step::Respond(respond) = &snapshot.listeners[0].hosts[0].steps[0] else { panic!() };
    assert_eq!(respond.body.to_string(), "a \"b\" 'c' \\ \t ${scheme}x");
    let snapshot =
        server("listen 80; location ~ \"^/[0-9]{2}$\" { return 204; } # } { ;\n location /a#b { }");
    assert_eq!(snapshot.listeners[0].hosts[0].routes[0].path.to_string(), "~ ^/[0-9]{2}$");
    assert_eq!(snapshot.listeners[0].hosts[0].routes[1].path.to_string(), "/a#b");
}

#[test]
fn includes_are_found_by_masks_and_loops_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let main = folder.path().join("nginx.conf");
    std::fs::create_dir(folder.path().join("sites")).unwrap();
    write("nginx.conf", "http { include sites/*.conf; include mime.types; }");
    write("sites/b.conf", "server { listen 2; }");
    write("sites/a.conf", "server { listen 1; }");
    write("sites/.hidden.conf", "nonsense");
    let loaded = crate::load(&main).unwrap();
    assert_eq!(loaded.snapshot.listeners[0].bind[0].to_string(), "0.0.0.0:1");
    assert_eq!(loaded.files_read.len(), 4, "{:?}", loaded.files_read);

    write("sites/a.conf", "include sites/a.conf;");
    assert!(crate::load(&main).unwrap_err().to_string().contains("includes itself"));
    write("sites/a.conf", "server {\n  listne 1; }");
    assert!(crate::load(&main).unwrap_err().to_string().contains("a.conf:2:3: unknown directive"));
    write("nginx.conf", "http { include none.conf; }");
    assert!(crate::load(&main).unwrap_err().to_string().contains("none.conf"));
}

#[test]
fn a_file_that_is_missing_is_shown_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("nginx.conf");
    std::fs::write(&main, "server { listen 1 ssl;\n ssl_certificate a.crt;\n ssl_certificate_key a.key; }")
        .unwrap();
    let error = crate::load(&main).unwrap_err();
    assert_eq!(error.findings().len(), 2, "{error}");
    assert!(error.to_string().contains("nginx.conf:2:18: cannot read"), "{error}");
}

#[test]
fn odd_text_never_panics() {
    let seeds = [
        "",
        ";",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "$",
        "${",
        "#",
        "a{b{c{",
        "server{",
        "map $a $b {",
        "if",
        "if (",
        "if ($",
        "location",
        "server{location}",
        "server{listen}",
        "server{return}",
        "include",
        "include;",
        "types{a}",
        "http{upstream a{server}}",
        "stream{server{listen 1;proxy_pass $a;}}",
        "\u{feff}server{}",
        "é{ü;}",
        "server { listen 1; location ~ \\",
        "server { listen [::; }",
        "server { listen 1; return 200 ${; }",
        "server{listen 1;location /{proxy_pass http://$;}}",
        "server{listen 1;location /{proxy_pass $a;}}",
        "http{map a b{}server{listen 1;}}",
        "http{map $a $b{a}server{listen 1;}}",
        "server{listen 1;error_page a;}",
        "server{listen 1;error_page = x;}",
        "server{listen 1;location /{proxy_pass http://unix:;}}",
    ];
    for seed in seeds {
        let _ = parse(seed);
        for end in 0..seed.len() {
            if let Some(part) = seed.get(..end) {
                let _ = parse(part);
            }
        }
    }
    let _ = parse(&"a{".repeat(100_000));
    let _ = parse(&"a ".repeat(100_000));
    // Time grows with the size of the file, not with its square.
    let _ = parse(&"server{listen 1;}".repeat(20_000));
    let many: String = (0..20_000).map(|n| format!("location /{n} {{ return 200 x; }}")).collect();
    let _ = parse(&format!("server {{ listen 1; {many} }}"));
}

/// A small fuzzer that always runs: real configurations with bytes cut out, doubled and swapped.
#[test]
fn mutilated_configurations_never_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nginx-corpus");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (below.max(1) as u64)).unwrap()
    };
    for folder in std::fs::read_dir(corpus).unwrap() {
        let text = std::fs::read_to_string(folder.unwrap().path().join("nginx.conf")).unwrap();
        let bytes = text.replace("{{", "1").replace("}}", "").into_bytes();
        for _ in 0..60 {
            let mut bytes = bytes.clone();
            for _ in 0..=random(3) {
                let (at, length) = (random(bytes.len()), random(12));
                let end = (at + length).min(bytes.len());
                match random(4) {
                    0 => drop(bytes.drain(at..end)),
                    1 => {
                        let part = bytes[at..end].to_vec();
                        let to = random(bytes.len());
                        bytes.splice(to..to, part);
                    }
                    2 => bytes[at] = b"{};\"'\\$()~*@= \n#"[random(16)],
                    _ => bytes.truncate(end.max(1)),
                }
            }
            if let Ok(text) = String::from_utf8(bytes) {
                let _ = parse(&text);
            }
        }
    }
}

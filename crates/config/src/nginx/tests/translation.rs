use model::snapshot::{
    Balance, Condition, Expires, LogFormat, LogTarget, PathRewrite, Protocol, RewriteEnd, Route, Step,
    TlsVersion,
};

use super::*;

fn routes(content: &str) -> Vec<Route> {
    server(&format!("listen 80; {content}")).listeners.remove(0).hosts.remove(0).routes
}

fn route(content: &str) -> Route {
    routes(content).remove(0)
}

#[test]
fn servers_of_one_address_become_hosts_of_one_listener() {
    let (snapshot, notes) = accept(
        "http { ssl_certificate a; ssl_certificate_key b;
           server { listen 443 ssl; server_name one.test; return 200 a; }
           server { listen 443 ssl default_server; server_name two.test one.test; ssl_protocols TLSv1.3; return 200 b; }
           server { listen 80; listen [::]:80; return 200 c; } }",
    );
    assert_eq!(snapshot.listeners.len(), 2);
    let tls = &snapshot.listeners[0];
    assert_eq!(tls.hosts.len(), 2);
    assert!(tls.hosts[1].default && !tls.hosts[0].default);
    assert_eq!(tls.hosts[1].names.len(), 1, "the first server has one.test");
    assert!(notes.iter().any(|note| note.contains("one.test stands in two servers")), "{notes:?}");
    // What both agree on belongs to the listener, the rest to the host.
    assert_eq!(tls.tls.as_ref().unwrap().certificates.len(), 1);
    assert_eq!(tls.hosts[1].tls.as_ref().unwrap().min_version, Some(TlsVersion::V1_3));
    assert!(tls.hosts[0].tls.is_none());
    assert_eq!(snapshot.listeners[1].bind.len(), 2);
}

#[test]
fn lists_are_inherited_only_where_a_level_has_none_of_its_own() {
    let snapshot = accept(
        "http { add_header A 1; proxy_set_header X-A 1; error_page 500 /e;
           server { listen 80; allow 10.0.0.0/8; deny all; add_header B 2; add_header C 3 always;
             location /in/ { proxy_pass http://127.0.0.1:1; }
             location /own/ { add_header D 4; proxy_set_header X-B 2; allow all; proxy_pass http://127.0.0.1:1; } } }",
    )
    .0;
    let routes = &snapshot.listeners[0].hosts[0].routes;
    let names = |route: &Route| route.response_headers.iter().map(|h| h.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&routes[0]), ["B", "C"]);
    assert!(routes[0].response_headers[1].always);
    assert_eq!(routes[0].addresses.len(), 2);
    assert_eq!(routes[0].error_pages[0].statuses, [500]);
    assert_eq!(routes[0].proxy.as_ref().unwrap().headers[0].name, "X-A");
    assert_eq!(names(&routes[1]), ["D"]);
    assert_eq!(routes[1].addresses.len(), 1);
    assert_eq!(routes[1].proxy.as_ref().unwrap().headers[0].name, "X-B");
}

#[test]
fn proxy_pass_follows_the_rules_for_its_path() {
    let proxy = |location: &str, target: &str| {
        route(&format!("location {location} {{ proxy_pass {target}; }}")).proxy.unwrap()
    };
    assert_eq!(proxy("/", "http://127.0.0.1:81").rewrite, None);
    assert_eq!(proxy("/a/", "http://127.0.0.1:81/").rewrite, Some(PathRewrite::Prefix("/".into())));
    let whole = proxy("~ ^/(.*)$", "http://127.0.0.1:81/x/$1");
    assert!(matches!(whole.rewrite, Some(PathRewrite::Whole(to)) if to.to_string() == "/x/${1}"));
    let whole = proxy("/", "http://127.0.0.1:81$request_uri");
    assert!(matches!(whole.rewrite, Some(PathRewrite::Whole(to)) if to.to_string() == "${request_uri}"));
    let plain = proxy("/", "http://backend.test");
    assert_eq!(plain.host.unwrap().literal(), Some("backend.test"));
    assert_eq!(plain.service.literal(), Some("backend.test"));
    assert_eq!(plain.redirects[0].0.literal(), Some("http://backend.test/"));
    assert!(!plain.forwarded && !plain.upgrades);
    assert_eq!(proxy("/", "http://unix:/run/a.sock:/x/").service.literal(), Some("unix:/run/a.sock"));
}

#[test]
fn a_service_is_an_upstream_spoken_to_in_one_way() {
    let (snapshot, notes) = accept(
        "http { upstream app { least_conn; server 10.0.0.1:81 weight=3 max_fails=2 fail_timeout=5s; \
                              server 10.0.0.2 backup; keepalive 4; }
           server { listen 80;
             location /a { proxy_pass http://app; }
             location /b { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; }
             location /c { proxy_pass https://app; proxy_ssl_verify on; proxy_ssl_trusted_certificate ca; \
                           proxy_ssl_server_name on; proxy_ssl_certificate c; proxy_ssl_certificate_key k; }
             location /d { grpc_pass app; } } }",
    );
    assert!(notes.is_empty(), "{notes:?}");
    let services = &snapshot.services;
    assert_eq!(services.len(), 4);
    let plain = &services["app"];
    assert_eq!((plain.protocol, plain.pool.idle), (Protocol::Http10, 0));
    assert_eq!(plain.balance, Balance::LeastRequests);
    assert_eq!(plain.endpoints[0].address, "10.0.0.1:81");
    assert_eq!((plain.endpoints[0].weight, plain.endpoints[0].max_fails), (3, Some(2)));
    assert_eq!(plain.endpoints[1].address, "10.0.0.2:80");
    assert!(plain.endpoints[1].backup);
    let kept = &services["app~2"];
    assert_eq!((kept.protocol, kept.pool.idle), (Protocol::Http1, 4));
    let tls = services["app~3"].tls.as_ref().unwrap();
    assert!(tls.verify && tls.sni && tls.certificate.is_some());
    assert_eq!((tls.depth, tls.name.as_deref()), (1, Some("app")));
    assert_eq!(services["app~4"].protocol, Protocol::Http2);
}

#[test]
fn a_mapped_name_leads_only_to_what_the_file_names() {
    let snapshot = accept(
        "http { upstream blue { server 10.0.0.1:81; } map $http_x $pool { default blue; green 10.0.0.2:82; bad ''; }
           server { listen 80; location / { proxy_pass http://$pool; } } }",
    )
    .0;
    assert_eq!(snapshot.services.keys().collect::<Vec<_>>(), ["10.0.0.2:82", "blue"]);
    let proxy = snapshot.listeners[0].hosts[0].routes[0].proxy.as_ref().unwrap();
    assert_eq!(proxy.service.to_string(), "${pool}");
    assert_eq!(proxy.host.as_ref().unwrap().to_string(), "${pool}");
}

#[test]
fn client_policies_keep_nginx_defaults() {
    let tls = |content: &str| {
        let text = format!("listen 443 ssl; ssl_certificate a; ssl_certificate_key b; {content}");
        server(&text).listeners.remove(0).tls.unwrap()
    };
    let clients =
        tls("ssl_client_certificate ca; ssl_verify_client optional; ssl_verify_depth 3; ssl_crl crl; \
                       ssl_trusted_certificate more;")
        .clients
        .unwrap();
    assert_eq!(clients.depth, 3);
    assert_eq!(clients.crl, [Path::new("crl")]);
    assert_eq!(clients.trusted, [Path::new("more")]);
    assert_eq!(
        tls("ssl_verify_client optional_no_ca;").clients.unwrap().mode,
        model::policy::ClientMode::OptionalNoCa
    );
    assert!(tls("ssl_verify_client off;").clients.is_none());
    assert_eq!(tls("ssl_ciphers HIGH:!aNULL:!MD5;").ciphers, Vec::<String>::new());
    let listed = tls("ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA;").ciphers;
    assert_eq!(listed.last().map(String::as_str), Some("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
    assert_eq!(listed.len(), 4, "the TLS 1.3 suites are not touched: {listed:?}");
    assert_eq!(tls("ssl_ecdh_curve X25519:prime256v1:secp521r1;").groups, ["X25519", "P-256"]);
    let versions = tls("ssl_protocols TLSv1.1 TLSv1.2;");
    assert_eq!(
        (versions.min_version, versions.max_version),
        (Some(TlsVersion::V1_2), Some(TlsVersion::V1_2))
    );
    assert_eq!(tls("ssl_session_tickets off; ssl_session_timeout 1h;").tickets, Some(false));
}

#[test]
fn openssl_cipher_lists_mean_what_openssl_means() {
    use super::super::ciphers::parse;
    let short = |list: &str| {
        parse(list).suites.iter().map(|suite| suite.replace("TLS_ECDHE_", "")).collect::<Vec<_>>()
    };
    assert_eq!(short("EECDH+AESGCM:!aECDSA"), ["RSA_WITH_AES_256_GCM_SHA384", "RSA_WITH_AES_128_GCM_SHA256"]);
    assert_eq!(short("ECDHE+CHACHA20:-ALL:ECDHE-RSA-AES128-GCM-SHA256"), ["RSA_WITH_AES_128_GCM_SHA256"]);
    assert_eq!(short("ALL:!AES128:!CHACHA20:+ECDSA").last().unwrap(), "ECDSA_WITH_AES_256_GCM_SHA384");
    assert_eq!(short("!ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"), Vec::<String>::new());
    assert_eq!(short("RC4:3DES:kRSA"), Vec::<String>::new());
    assert_eq!(parse("HIGH:@SECLEVEL=2").suites.len(), 6);
    assert_eq!(
        parse("ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256").dropped,
        ["DHE-RSA-AES128-GCM-SHA256"]
    );
}

#[test]
fn the_rewrite_phase_is_kept_in_order() {
    let snapshot = server(
        "listen 80; set $a b; rewrite ^/x$ /y last; rewrite ^/z$ https://other.test/; if ($ssl_client_verify != SUCCESS) { return 403; } \
         if ($host ~* \"^www\\.\") { rewrite ^ /w permanent; } break;",
    );
    let steps = &snapshot.listeners[0].hosts[0].steps;
    assert!(matches!(&steps[0], Step::Set { variable, .. } if variable == "a"));
    assert!(matches!(&steps[1], Step::Rewrite { then: RewriteEnd::Last, .. }));
    assert!(matches!(&steps[2], Step::Rewrite { then: RewriteEnd::Redirect, .. }));
    assert!(matches!(&steps[3], Step::If { condition: Condition::Differs(..), then } if then.len() == 1));
    let Step::If { condition: Condition::Matches { regex, case, not, .. }, .. } = &steps[4] else { panic!() };
    assert_eq!((regex.as_str(), *case, *not), ("^www\\.", false, false));
    assert_eq!(steps[5], Step::Break);
}

#[test]
fn content_directives_become_the_route() {
    let route = route(
        "location / { root /srv; index a b; try_files $uri =404; autoindex on; gzip_static on; etag off; expires -1; \
         gzip on; gzip_types text/css; client_max_body_size 0; auth_basic r; auth_basic_user_file users; \
         error_page 404 =200 /x; access_log /tmp/a.log; default_type a/b; types { c/d e f; } }",
    );
    let files = route.files.unwrap();
    assert_eq!(files.root.unwrap().literal(), Some("/srv"));
    assert_eq!((files.index.len(), files.try_files.len()), (2, 2));
    assert!(files.listing && files.precompressed && !files.etag && !files.builtin_types);
    assert_eq!(files.types.len(), 2);
    assert_eq!(files.default_type.as_deref(), Some("a/b"));
    assert_eq!(route.expires, Some(Expires::Past(model::units::Span::seconds(1))));
    assert_eq!(route.compression.unwrap().types, ["text/html", "text/css"]);
    assert_eq!(route.body_bytes, Some(model::units::Size(0)));
    assert_eq!(route.basic_auth.unwrap().users, Path::new("users"));
    assert_eq!(route.error_pages[0].status, Some(200));
    let log = route.access_log.unwrap();
    assert_eq!(log.to, LogTarget::File("/tmp/a.log".into()));
    assert!(matches!(log.format, LogFormat::Template(_)));
}

#[test]
fn the_table_of_nginx_is_the_built_in_one() {
    let (snapshot, _) = accept("http { include mime.types; default_type x/y; server { listen 80; } }");
    let files = snapshot.listeners[0].hosts[0].routes[0].files.clone().unwrap();
    assert!(files.builtin_types && files.types.is_empty());
    assert_eq!(files.default_type.as_deref(), Some("x/y"));
}

#[test]
fn an_inner_alias_adds_what_the_outer_prefix_left() {
    let routes = routes(
        "location /img/ { alias /srv/p/; location /img/big/ { expires max; } location = /img/x { root /y; } }",
    );
    let inner = &routes[0].routes;
    assert_eq!(inner[0].files.as_ref().unwrap().alias.as_ref().unwrap().literal(), Some("/srv/p/big/"));
    assert_eq!(inner[1].files.as_ref().unwrap().root.as_ref().unwrap().literal(), Some("/y"));
}

#[test]
fn stream_servers_become_tcp_listeners() {
    let (snapshot, _) = accept(
        "stream { map $ssl_preread_server_name $to { hostnames; default other; a.test one; .b.test two; *.x.b.test one; }
           upstream one { server 10.0.0.1:1; } upstream two { server 10.0.0.2:1; } upstream other { server 10.0.0.3:1; }
           server { listen 443; ssl_preread on; proxy_pass $to; proxy_timeout 5m; proxy_protocol on; }
           server { listen 444 ssl; ssl_certificate a; ssl_certificate_key b; proxy_pass 10.0.0.4:5; proxy_connect_timeout 3s; } }",
    );
    let tcp = snapshot.listeners[0].tcp.as_ref().unwrap();
    assert!(tcp.peek && tcp.proxy_protocol.is_some());
    let names: Vec<_> =
        tcp.routes.iter().map(|route| (route.names.join(","), route.service.as_str())).collect();
    assert_eq!(
        names,
        [
            ("a.test".to_owned(), "one"),
            ("b.test".to_owned(), "two"),
            ("*.x.b.test".to_owned(), "one"),
            ("*.b.test".to_owned(), "two"),
            (String::new(), "other")
        ]
    );
    assert!(snapshot.listeners[1].tls.is_some());
    assert_eq!(snapshot.services["10.0.0.4:5"].timeouts.connect, model::units::Span::seconds(3));
}

use super::*;

fn route(path: &str) -> Route {
    Route { path: path.parse().unwrap(), ..Route::default() }
}

fn compile(routes: &[Route]) -> (Locations, Vec<String>) {
    let mut flat = Vec::new();
    let locations = Locations::new(routes, &mut flat, &mut HashMap::new());
    (locations, flat.iter().map(|r| r.path.to_string()).collect())
}

fn found(routes: &[Route], path: &str) -> String {
    let (locations, names) = compile(routes);
    match locations.find(path, &Method::GET) {
        Location::Route(number) => names[number].clone(),
        Location::AddSlash => "add slash".to_owned(),
        Location::None => "none".to_owned(),
    }
}

#[test]
fn a_location_is_chosen_as_the_nginx_manual_says() {
    // The example of nginx's own documentation, configurations A to E.
    let routes = ["= /", "/", "/documents/", "^~ /images/", "~* \\.(gif|jpg|jpeg)$"].map(route);
    for (path, expected) in [
        ("/", "= /"),
        ("/index.html", "/"),
        ("/documents/document.html", "/documents/"),
        ("/images/1.gif", "^~ /images/"),
        ("/documents/1.jpg", "~* \\.(gif|jpg|jpeg)$"),
        ("/documents/1.JPG", "~* \\.(gif|jpg|jpeg)$"),
    ] {
        assert_eq!(found(&routes, path), expected, "{path}");
    }
}

#[test]
fn the_first_regular_expression_wins_and_case_counts_with_one_tilde() {
    let routes = ["~ \\.php$", "~ ^/a", "/"].map(route);
    assert_eq!(found(&routes, "/a.php"), "~ \\.php$");
    assert_eq!(found(&routes, "/ab"), "~ ^/a");
    assert_eq!(found(&routes, "/A"), "/");
    assert_eq!(found(&["= /x"].map(route), "/y"), "none");
}

#[test]
fn routes_within_a_route_are_searched_once_it_is_chosen() {
    let mut outer = route("/app/");
    outer.routes = vec![route("~ \\.php$"), route("/app/admin/"), route("= /app/exact")];
    let mut stop = route("^~ /static/");
    stop.routes = vec![route("~ \\.css$")];
    let routes = [outer, stop, route("~ \\.(php|css|adm)$"), route("/")];
    for (path, expected) in [
        ("/app/x", "/app/"),
        ("/app/x.php", "~ \\.php$"),
        ("/x.php", "~ \\.(php|css|adm)$"),
        ("/app/admin/x", "/app/admin/"),
        ("/app/admin/x.adm", "~ \\.(php|css|adm)$"),
        ("/app/exact", "= /app/exact"),
        ("/static/a.css", "~ \\.css$"),
        ("/static/a.php", "^~ /static/"),
    ] {
        assert_eq!(found(&routes, path), expected, "{path}");
    }
}

#[test]
fn a_proxied_folder_redirects_its_name_without_the_slash() {
    let mut proxied = route("/user/");
    proxied.proxy = Some(Default::default());
    assert_eq!(found(&[proxied.clone(), route("/")], "/user"), "add slash");
    assert_eq!(found(&[proxied.clone(), route("= /user"), route("/")], "/user"), "= /user");
    assert_eq!(found(&[route("/user/"), route("/")], "/user"), "/", "files do that themselves");
}

#[test]
fn a_named_route_is_not_found_by_a_path() {
    let routes = ["@fallback", "/"].map(route);
    let mut named = HashMap::new();
    let mut flat = Vec::new();
    let locations = Locations::new(&routes, &mut flat, &mut named);
    assert_eq!(named["fallback"], 0);
    assert_eq!(locations.find("@fallback", &Method::GET), Location::None);
    assert_eq!(locations.find("/", &Method::GET), Location::Route(1));
}

#[test]
fn a_path_may_have_a_route_for_each_method() {
    for path in ["/x", "= /x", "^~ /x", "~ ^/x$"] {
        let mut routes = [route(path), route(path), route(path)];
        for (route, method) in routes.iter_mut().zip(["GET", "POST", "PUT"]) {
            route.methods = vec![method.to_owned()];
        }
        let mut flat = Vec::new();
        let locations = Locations::new(&routes, &mut flat, &mut HashMap::new());
        for (method, number) in [(Method::GET, 0), (Method::POST, 1), (Method::PUT, 2), (Method::DELETE, 0)] {
            assert_eq!(locations.find("/x", &method), Location::Route(number), "{path} {method}");
        }
    }
}

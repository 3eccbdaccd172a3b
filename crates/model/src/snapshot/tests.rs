use super::*;

#[test]
fn an_address_is_read_in_each_of_its_forms() {
    for (text, shown) in [
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        (":443", "0.0.0.0:443"),
        ("[::1]:80", "[::1]:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ] {
        assert_eq!(text.parse::<Bind>().unwrap().to_string(), shown);
    }
    for text in ["443", "host.example:1", "unix:rel", ":99999", ""] {
        assert!(text.parse::<Bind>().is_err(), "{text}");
    }
}

#[test]
fn a_host_name_is_read_in_each_of_its_forms() {
    for text in ["example.com", "*.example.com", ".example.com", "www.*", "~^a\\d$", "_"] {
        assert_eq!(text.parse::<NamePattern>().unwrap().to_string(), text);
    }
    for text in ["a*b", "*.", "*.*.x", "~("] {
        assert!(text.parse::<NamePattern>().is_err(), "{text}");
    }
}

#[test]
fn the_schema_covers_the_whole_snapshot() {
    let schema = serde_json::to_value(schemars::schema_for!(Snapshot)).unwrap();
    for name in ["Listener", "Route", "Service", "ClientPolicy", "ServerTls"] {
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
}

//! A snapshot printed as handfast.yaml: what equals its default is left out, so that what is left is what a
//! person would have written.

use std::collections::BTreeMap;

use model::policy::ClientPolicy;
use model::snapshot::{
    AccessLog, ActiveHealth, Compression, Endpoint, Files, Host, Limits, Listener, PassiveHealth, Pool,
    Proxy, Retries, Route, ServerTls, Service, ServiceTimeouts, Snapshot, TcpListener, Timeouts, UpstreamTls,
};
use serde::Serialize;
use serde_json::Value;

/// Prints a snapshot. Reading the text again gives the same snapshot.
pub fn write(snapshot: &Snapshot) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(snapshot)?;
    tidy(&mut value)?;
    // serde_json's own errors are the only ones that can occur: the value holds plain data.
    serde_saphyr::to_string(&value).map_err(serde::ser::Error::custom)
}

fn tidy(root: &mut Value) -> Result<(), serde_json::Error> {
    let defaults = Defaults::new()?;
    defaults.drop(root, "access_log", "AccessLog");
    for listener in each(root, "listeners") {
        defaults.listener(listener);
    }
    if let Some(Value::Object(services)) = root.get_mut("services") {
        for service in services.values_mut() {
            defaults.service(service);
        }
    }
    Ok(())
}

/// The default of each type, by the type's name.
struct Defaults(BTreeMap<&'static str, Value>);

impl Defaults {
    fn new() -> Result<Self, serde_json::Error> {
        fn of<T: Default + Serialize>() -> Result<Value, serde_json::Error> {
            serde_json::to_value(T::default())
        }
        Ok(Self(BTreeMap::from([
            ("AccessLog", of::<AccessLog>()?),
            ("ActiveHealth", of::<ActiveHealth>()?),
            ("ClientPolicy", of::<ClientPolicy>()?),
            ("Compression", of::<Compression>()?),
            ("Endpoint", of::<Endpoint>()?),
            ("Files", of::<Files>()?),
            ("Host", of::<Host>()?),
            ("Limits", of::<Limits>()?),
            ("Listener", of::<Listener>()?),
            ("PassiveHealth", of::<PassiveHealth>()?),
            ("Pool", of::<Pool>()?),
            ("Proxy", of::<Proxy>()?),
            ("Retries", of::<Retries>()?),
            ("Route", of::<Route>()?),
            ("ServerTls", of::<ServerTls>()?),
            ("Service", of::<Service>()?),
            ("ServiceTimeouts", of::<ServiceTimeouts>()?),
            ("TcpListener", of::<TcpListener>()?),
            ("Timeouts", of::<Timeouts>()?),
            ("UpstreamTls", of::<UpstreamTls>()?),
        ])))
    }

    /// Takes out of a value what equals the default of its type.
    fn prune(&self, value: &mut Value, kind: &str, keep: &[&str]) {
        if let (Value::Object(object), Some(Value::Object(default))) = (value, self.0.get(kind)) {
            object.retain(|key, value| keep.contains(&key.as_str()) || default.get(key) != Some(value));
        }
    }

    /// Prunes the value under a key, and takes out the key when it is a default that reads back as such.
    fn drop(&self, parent: &mut Value, key: &str, kind: &str) {
        let Some(object) = parent.as_object_mut() else { return };
        if let Some(value) = object.get_mut(key) {
            self.prune(value, kind, &[]);
            if value.as_object().is_some_and(serde_json::Map::is_empty) {
                object.remove(key);
            }
        }
    }

    /// Prunes the value under a key whose presence means something.
    fn keep(&self, parent: &mut Value, key: &str, kind: &str, keep: &[&str]) {
        if let Some(value) = parent.get_mut(key) {
            self.prune(value, kind, keep);
        }
    }

    fn listener(&self, listener: &mut Value) {
        self.drop(listener, "limits", "Limits");
        self.drop(listener, "timeouts", "Timeouts");
        self.tls(listener);
        if let Some(tcp) = listener.get_mut("tcp") {
            self.keep(tcp, "access_log", "AccessLog", &["to"]);
            self.prune(tcp, "TcpListener", &[]);
        }
        for host in each(listener, "hosts") {
            self.tls(host);
            self.keep(host, "access_log", "AccessLog", &["to"]);
            for route in each(host, "routes") {
                self.route(route);
            }
            self.prune(host, "Host", &[]);
        }
        self.prune(listener, "Listener", &["name", "bind"]);
    }

    fn tls(&self, parent: &mut Value) {
        if let Some(tls) = parent.get_mut("tls") {
            self.keep(tls, "clients", "ClientPolicy", &["mode"]);
            self.prune(tls, "ServerTls", &[]);
        }
    }

    fn route(&self, route: &mut Value) {
        self.keep(route, "clients", "ClientPolicy", &["mode"]);
        self.keep(route, "access_log", "AccessLog", &["to"]);
        self.keep(route, "compression", "Compression", &["gzip"]);
        self.keep(route, "files", "Files", &[]);
        if let Some(proxy) = route.get_mut("proxy") {
            self.keep(proxy, "retries", "Retries", &["attempts"]);
            self.keep(proxy, "timeouts", "ServiceTimeouts", &["connect"]);
            self.prune(proxy, "Proxy", &["service"]);
        }
        for inner in each(route, "routes") {
            self.route(inner);
        }
        self.prune(route, "Route", &["path"]);
    }

    fn service(&self, service: &mut Value) {
        for endpoint in each(service, "endpoints") {
            self.prune(endpoint, "Endpoint", &["address"]);
        }
        self.keep(service, "tls", "UpstreamTls", &["verify"]);
        self.keep(service, "active_health", "ActiveHealth", &["interval"]);
        self.drop(service, "passive_health", "PassiveHealth");
        self.drop(service, "retries", "Retries");
        self.drop(service, "pool", "Pool");
        self.drop(service, "timeouts", "ServiceTimeouts");
        self.prune(service, "Service", &["endpoints"]);
    }
}

fn each<'v>(parent: &'v mut Value, key: &str) -> impl Iterator<Item = &'v mut Value> {
    parent.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

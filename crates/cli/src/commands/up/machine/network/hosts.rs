//! What a pod with a network of its own knows of names: its `/etc/hosts` has all Services, by each of the names that a
//! cluster's DNS would answer to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use model::mesh::{Service, Workload, World};

/// Whose file it is.
pub struct Reader<'a> {
    /// The pod's name, which is its host name too.
    pub name: &'a str,
    /// Its namespace: Services of this one have their short names.
    pub namespace: &'a str,
    /// Its address.
    pub address: IpAddr,
    /// Whether its calls go through a proxy. What else than that stands for a Service's address is not there: without
    /// one, a Service's name is those of its pods that are ready.
    pub is_carried: bool,
}

/// The file.
pub fn hosts(world: &World, reader: &Reader<'_>) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    // Writing to a String does not fail.
    let _ = writeln!(text, "{} {}", reader.address, reader.name);
    let mut services: Vec<_> = world.services().collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    for service in services {
        let names = names(service, reader.namespace);
        if !service.addresses.is_empty() && reader.is_carried {
            for address in &service.addresses {
                let _ = writeln!(text, "{address} {}", names.join(" "));
            }
            continue;
        }
        for (workload, address) in ready(world, service).into_values() {
            // A pod of a Service without an address has a name of its own, as of a StatefulSet.
            let own = names.iter().map(|name| format!("{}.{name}", workload.name));
            let all: Vec<String> = names.iter().cloned().chain(own).collect();
            let _ = writeln!(text, "{address} {}", all.join(" "));
        }
    }
    text
}

fn names(service: &Service, namespace: &str) -> Vec<String> {
    let (short, own) = (&service.short, &service.name);
    let mut names = vec![
        own.hostname.clone(),
        format!("{short}.{}", own.namespace),
        format!("{short}.{}.svc", own.namespace),
    ];
    if own.namespace == namespace {
        names.push(short.clone());
    }
    names
}

fn ready<'a>(world: &'a World, service: &Service) -> BTreeMap<&'a str, (&'a Workload, IpAddr)> {
    let endpoints = world.endpoints(&service.name).filter(|workload| workload.healthy);
    endpoints
        .filter_map(|workload| {
            Some((workload.uid.as_str(), (workload.as_ref(), *workload.addresses.first()?)))
        })
        .collect()
}

/// `/etc/resolv.conf`: there is no DNS inside. A name that is not in the other file is unknown at once, for nobody
/// listens there; without this file it would be asked for where nothing leads to.
pub const RESOLV_CONF: &str = "# Services are in /etc/hosts; no other name is known in here.\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

/// `/etc/nsswitch.conf` such that names are looked for in `/etc/hosts` and not asked of the machine's own services, which
/// see another one.
pub fn nsswitch(machines: &str) -> String {
    let line = |line: &str| match line.trim_start().starts_with("hosts:") {
        true => "hosts: files dns\n".to_owned(),
        false => format!("{line}\n"),
    };
    machines.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use model::mesh::{Change, Port, ServiceName};

    use super::*;

    fn world() -> World {
        let mut world = World::default();
        for (short, namespace, addresses) in
            [("ledger", "bank", vec![[10, 77, 128, 2]]), ("notes", "paper", vec![[10, 77, 128, 3]])]
        {
            let hostname = format!("{short}.{namespace}.svc.cluster.local");
            world.apply(Change::Service(Service {
                name: ServiceName { namespace: namespace.to_owned(), hostname },
                short: short.to_owned(),
                addresses: addresses.into_iter().map(IpAddr::from).collect(),
                ports: vec![Port { service: 80, target: 8080, protocol: Default::default() }],
                subject_alt_names: Vec::new(),
            }));
        }
        world
    }

    #[test]
    fn services_have_the_names_of_a_cluster() {
        let address = IpAddr::from([10, 77, 0, 2]);
        let reader = Reader { name: "teller-0", namespace: "bank", address, is_carried: true };
        let text = hosts(&world(), &reader);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&"10.77.0.2 teller-0"), "{text}");
        let own = "10.77.128.2 ledger.bank.svc.cluster.local ledger.bank ledger.bank.svc ledger";
        let other = "10.77.128.3 notes.paper.svc.cluster.local notes.paper notes.paper.svc";
        assert!(lines.contains(&own) && lines.contains(&other), "{text}");
        let text = hosts(&world(), &Reader { is_carried: false, ..reader });
        assert!(
            !text.contains("ledger"),
            "nobody is ready, and nothing stands for the Service's address: {text}"
        );
    }

    #[test]
    fn names_are_not_asked_of_the_machines_own_services() {
        let machines = "passwd: files\nhosts: mymachines resolve [!UNAVAIL=return] files dns\n# end\n";
        assert_eq!(nsswitch(machines), "passwd: files\nhosts: files dns\n# end\n");
    }
}

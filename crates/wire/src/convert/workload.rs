//! Workloads.

use model::identity::TrustDomain;
use model::mesh::{Change, Memberships, Tunnel, Workload, WorkloadKind};

use super::{
    Context, Instead, Invalid, MODES_NAMESPACE, Refused, address_from_wire, address_to_wire, modes,
    port_to_wire, ports_from_wire, service_name, strict_policy,
};
use crate::proto::workload as proto;

/// The service account of a workload that says none.
const DEFAULT_ACCOUNT: &str = "default";
/// Policies that nobody has, for what a workload asks of its proxy and we cannot do: it refuses rather than do without.
const WAYPOINT: &str = "handfast_unsupported/waypoint";
const APPLICATION_TUNNEL: &str = "handfast_unsupported/application_tunnel";

pub(super) fn to_wire(workload: &Workload) -> proto::Workload {
    let mut policies = workload.policies.clone();
    if workload.tunnel == Tunnel::Hbone {
        policies.extend(strict_policy(&workload.modes.inbound).map(|policy| policy.key()));
    }
    let services = workload.services.iter().map(|(name, ports)| {
        (name.to_string(), proto::PortList { ports: ports.iter().map(port_to_wire).collect() })
    });
    let tunnel = match workload.tunnel {
        Tunnel::None => proto::TunnelProtocol::None,
        Tunnel::Hbone => proto::TunnelProtocol::Hbone,
    };
    let kind = match workload.kind {
        WorkloadKind::Deployment => proto::WorkloadType::Deployment,
        WorkloadKind::CronJob => proto::WorkloadType::Cronjob,
        WorkloadKind::Job => proto::WorkloadType::Job,
        WorkloadKind::Pod => proto::WorkloadType::Pod,
    };
    let status =
        if workload.healthy { proto::WorkloadStatus::Healthy } else { proto::WorkloadStatus::Unhealthy };
    let network =
        if workload.host_network { proto::NetworkMode::HostNetwork } else { proto::NetworkMode::Standard };
    proto::Workload {
        name: workload.name.clone(),
        namespace: workload.namespace.clone(),
        addresses: workload.addresses.iter().map(|address| address_to_wire(*address)).collect(),
        tunnel_protocol: tunnel.into(),
        trust_domain: workload.trust_domain.to_string(),
        service_account: workload.service_account.clone(),
        node: workload.node.clone(),
        canonical_name: workload.canonical_name.clone(),
        canonical_revision: workload.canonical_revision.clone(),
        workload_type: kind.into(),
        workload_name: workload.workload_name.clone(),
        authorization_policies: policies,
        status: status.into(),
        cluster_id: workload.cluster.clone(),
        uid: workload.uid.clone(),
        services: services.collect(),
        network_mode: network.into(),
        extensions: modes::to_wire(&workload.modes),
        ..proto::Workload::default()
    }
}

/// A workload whose modes make no sense, and of which nothing else is known, is called and calls by mutual TLS only.
pub(super) fn from_wire(message: proto::Workload, context: &Context) -> Result<Workload, Refused> {
    let modes = modes::from_wire(&message.extensions);
    let said = matches!(modes, Ok(Some(_)));
    let (modes, wrong) = match modes {
        Ok(modes) => (modes.unwrap_or_default(), None),
        Err(error) => (modes::closed(), Some(error)),
    };
    let mut workload = plain(message, context)?;
    workload.modes = modes;
    if said || wrong.is_some() {
        workload.policies.retain(|key| key.split('/').next() != Some(MODES_NAMESPACE));
    }
    match wrong {
        None => Ok(workload),
        Some(error) => Err(Refused { error, instead: Instead::Else(Box::new(Change::Workload(workload))) }),
    }
}

fn plain(message: proto::Workload, context: &Context) -> Result<Workload, Invalid> {
    let tunnel = match proto::TunnelProtocol::try_from(message.tunnel_protocol) {
        Ok(proto::TunnelProtocol::Hbone) => Tunnel::Hbone,
        // Istio's sidecars speak another protocol than ours: to a strict caller they are not in the mesh.
        Ok(proto::TunnelProtocol::None | proto::TunnelProtocol::LegacyIstioMtls) => Tunnel::None,
        Err(_) => {
            let what = format!("there is no tunnel {}", message.tunnel_protocol);
            return Err(Invalid::new("tunnel_protocol", what));
        }
    };
    if message.uid.is_empty() {
        return Err(Invalid::new("uid", "it is empty"));
    }
    let trust_domain = match message.trust_domain.as_str() {
        "" => context.trust_domain.clone(),
        text => text
            .parse::<TrustDomain>()
            .map_err(|error| Invalid::new("trust_domain", format!("{text:?}: {error}")))?,
    };
    let mut service_account = message.service_account;
    if service_account.is_empty() && tunnel == Tunnel::Hbone {
        DEFAULT_ACCOUNT.clone_into(&mut service_account);
    }
    let mut addresses = Vec::with_capacity(message.addresses.len());
    for (at, address) in message.addresses.iter().enumerate() {
        addresses.push(address_from_wire(format!("addresses[{at}]"), address)?.to_canonical());
    }
    // What has an address in another network cannot be called at it, and would be taken for who has it here.
    let elsewhere = message.network != context.network;
    if elsewhere {
        addresses.clear();
    }
    let mut services = Memberships::default();
    for (key, list) in &message.services {
        let field = format!("services[{key}]");
        let Some(name) = service_name(key) else {
            return Err(Invalid::new(field, "it is no namespace/hostname"));
        };
        services.insert(name, ports_from_wire(&list.ports).map_err(|error| error.within(field))?);
    }
    let mut policies = message.authorization_policies;
    if message.waypoint.is_some() {
        policies.push(WAYPOINT.to_owned());
    }
    let plain = i32::from(proto::TunnelKind::Plain);
    if message.application_tunnel.is_some_and(|tunnel| tunnel.protocol != plain) {
        policies.push(APPLICATION_TUNNEL.to_owned());
    }
    // Of what is for people only, what is not known counts as nothing.
    let kind = match proto::WorkloadType::try_from(message.workload_type) {
        Ok(proto::WorkloadType::Deployment) => WorkloadKind::Deployment,
        Ok(proto::WorkloadType::Cronjob) => WorkloadKind::CronJob,
        Ok(proto::WorkloadType::Job) => WorkloadKind::Job,
        Ok(proto::WorkloadType::Pod) | Err(_) => WorkloadKind::Pod,
    };
    Ok(Workload {
        uid: message.uid,
        name: message.name,
        namespace: message.namespace,
        addresses,
        trust_domain,
        service_account,
        node: message.node,
        tunnel,
        // Neither of two that are known: then its address is nobody's own, and it takes no connections.
        host_network: message.network_mode != i32::from(proto::NetworkMode::Standard),
        healthy: message.status == i32::from(proto::WorkloadStatus::Healthy) && !elsewhere,
        workload_name: message.workload_name,
        kind,
        canonical_name: message.canonical_name,
        canonical_revision: message.canonical_revision,
        cluster: message.cluster_id,
        services,
        policies,
        modes: model::mesh::Modes::default(),
    })
}

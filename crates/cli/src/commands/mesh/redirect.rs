//! `handfast mesh redirect`: what the first init container of a pod of the mesh does. It has the pod's connections
//! redirected to the proxy, which need not be there yet: until then they are refused.

use std::collections::BTreeSet;
use std::net::IpAddr;

use model::codes::mesh as codes;
use sys::redirection::{Error, Exceptions};
use sys::{Redirection, Subnet};

use super::proxy::gateways;
use crate::commands::Globals;
use crate::failure::{EXIT_OK, EXIT_USAGE, Failure, Outcome};
use crate::logging;

/// Arguments of `handfast mesh redirect`.
#[derive(clap::Args)]
pub struct Args {
    /// Ports at which the pod is called without its proxy.
    #[arg(long, env = "HANDFAST_SKIP_INBOUND_PORTS", value_delimiter = ',', value_name = "PORT")]
    skip_inbound_ports: Vec<u16>,
    /// Ports that the pod calls without its proxy; 53, the DNS by TCP, is one of them always.
    #[arg(long, env = "HANDFAST_SKIP_OUTBOUND_PORTS", value_delimiter = ',', value_name = "PORT")]
    skip_outbound_ports: Vec<u16>,
    /// Networks that the pod calls without its proxy, as in 10.1.0.0/16.
    #[arg(long, env = "HANDFAST_SKIP_OUTBOUND_SUBNETS", value_delimiter = ',', value_name = "NETWORK")]
    skip_outbound_subnets: Vec<Subnet>,
    /// Ports at which kubelet asks only whether a connection is taken: the proxy takes each, so the node is not redirected
    /// there.
    #[arg(long, env = "HANDFAST_PROBE_PORTS", value_delimiter = ',', value_name = "PORT")]
    probe_ports: Vec<u16>,
    /// The node's addresses; the gateway of this network is one of them always.
    #[arg(long, env = "HANDFAST_NODE_IPS", value_delimiter = ',', value_name = "ADDRESS")]
    node_ips: Vec<IpAddr>,
    /// Print the rules, in the language of nft, and change nothing.
    #[arg(long, env = "HANDFAST_DRY_RUN")]
    dry_run: bool,
    /// Take the rules away.
    #[arg(long, env = "HANDFAST_REMOVE", conflicts_with = "dry_run")]
    remove: bool,
}

impl Args {
    fn redirection(&self) -> Redirection {
        let mut redirection = Redirection::default();
        redirection.outbound.ports.extend(&self.skip_outbound_ports);
        let nodes = self.node_ips.iter().copied().chain(gateways());
        let nodes: BTreeSet<IpAddr> = nodes.map(|address| address.to_canonical()).collect();
        let nodes = nodes.into_iter().filter_map(|address| address.to_string().parse::<Subnet>().ok());
        let probes = nodes.flat_map(|node| self.probe_ports.iter().map(move |port| (node, *port))).collect();
        Redirection {
            probes,
            outbound: Exceptions { subnets: self.skip_outbound_subnets.clone(), ..redirection.outbound },
            inbound_ports: self.skip_inbound_ports.clone(),
            ..redirection
        }
    }
}

/// Runs `handfast mesh redirect`.
pub fn run(args: Args, globals: &Globals) -> Outcome {
    logging::init(&globals.log, None)?;
    let redirection = args.redirection();
    let failed = |error: Error| match &error {
        Error::Invalid(_) => Failure::new(&codes::REDIRECTION, &error).exit(EXIT_USAGE),
        _ => Failure::new(&codes::REDIRECTION, &error),
    };
    redirection.validate().map_err(failed)?;
    if args.dry_run {
        print!("{}", redirection.describe());
    } else if args.remove {
        redirection.remove().map_err(failed)?;
        tracing::info!("the connections of this network are redirected no longer");
    } else {
        redirection.apply().map_err(failed)?;
        tracing::info!(
            outbound = redirection.outbound_port,
            inbound = redirection.inbound_port,
            "the connections of this network are redirected to the proxy"
        );
    }
    Ok(EXIT_OK)
}

//! Policies.

use model::mesh::Policy;
use model::mesh::policy::{Account, Action, Clause, Field, Match, Network, Rule, Scope, Text};

use super::{Invalid, Result, address_from_wire, address_to_wire, port_number};
use crate::proto::security as proto;

pub(super) fn to_wire(policy: &Policy) -> proto::Authorization {
    let scope = match policy.scope {
        Scope::Global => proto::Scope::Global,
        Scope::Namespace => proto::Scope::Namespace,
        Scope::Selected => proto::Scope::WorkloadSelector,
    };
    let action = match policy.action {
        Action::Allow => proto::Action::Allow,
        Action::Deny => proto::Action::Deny,
    };
    let clause =
        |clause: &Clause| proto::Clause { matches: clause.matches.iter().map(match_to_wire).collect() };
    let rule = |rule: &Rule| proto::Rule { clauses: rule.clauses.iter().map(clause).collect() };
    proto::Authorization {
        name: policy.name.clone(),
        namespace: policy.namespace.clone(),
        scope: scope.into(),
        action: action.into(),
        rules: policy.rules.iter().map(rule).collect(),
        dry_run: policy.dry_run,
        extensions: Vec::new(),
    }
}

fn match_to_wire(part: &Match) -> proto::Match {
    fn texts(texts: &[Text]) -> Vec<proto::StringMatch> {
        let way = |text: &Text| match text {
            Text::Exact(text) => proto::MatchType::Exact(text.clone()),
            Text::Prefix(text) => proto::MatchType::Prefix(text.clone()),
            Text::Suffix(text) => proto::MatchType::Suffix(text.clone()),
            Text::Presence => proto::MatchType::Presence(()),
        };
        texts.iter().map(|text| proto::StringMatch { match_type: Some(way(text)) }).collect()
    }
    fn networks(networks: &[Network]) -> Vec<proto::Address> {
        let address = |network: &Network| proto::Address {
            address: address_to_wire(network.address()),
            length: network.length().into(),
        };
        networks.iter().map(address).collect()
    }
    fn ports(ports: &[u16]) -> Vec<u32> {
        ports.iter().map(|port| u32::from(*port)).collect()
    }
    fn accounts(accounts: &[Account]) -> Vec<proto::ServiceAccountMatch> {
        let account = |account: &Account| proto::ServiceAccountMatch {
            namespace: account.namespace.clone(),
            service_account: account.name.clone(),
        };
        accounts.iter().map(account).collect()
    }
    proto::Match {
        namespaces: texts(&part.namespaces.any),
        not_namespaces: texts(&part.namespaces.none),
        principals: texts(&part.principals.any),
        not_principals: texts(&part.principals.none),
        source_ips: networks(&part.source_ips.any),
        not_source_ips: networks(&part.source_ips.none),
        destination_ips: networks(&part.destination_ips.any),
        not_destination_ips: networks(&part.destination_ips.none),
        destination_ports: ports(&part.destination_ports.any),
        not_destination_ports: ports(&part.destination_ports.none),
        service_accounts: accounts(&part.service_accounts.any),
        not_service_accounts: accounts(&part.service_accounts.none),
        extensions: Vec::new(),
    }
}

/// What a policy applies to.
pub(super) fn scope(number: i32) -> Result<Scope> {
    match proto::Scope::try_from(number) {
        Ok(proto::Scope::Global) => Ok(Scope::Global),
        Ok(proto::Scope::Namespace) => Ok(Scope::Namespace),
        Ok(proto::Scope::WorkloadSelector) => Ok(Scope::Selected),
        Err(_) => Err(Invalid::new("scope", format!("there is no scope {number}"))),
    }
}

pub(super) fn from_wire(message: proto::Authorization) -> Result<Policy> {
    let action = match proto::Action::try_from(message.action) {
        Ok(proto::Action::Allow) => Action::Allow,
        Ok(proto::Action::Deny) => Action::Deny,
        Err(_) => return Err(Invalid::new("action", format!("there is no action {}", message.action))),
    };
    extensions(&message.extensions)?;
    let mut rules = Vec::new();
    for (at, rule) in message.rules.iter().enumerate() {
        let mut clauses = Vec::new();
        for (number, clause) in rule.clauses.iter().enumerate() {
            let mut matches = Vec::new();
            for (index, part) in clause.matches.iter().enumerate() {
                let place = || format!("rules[{at}].clauses[{number}].matches[{index}]");
                matches.push(match_from_wire(part).map_err(|error| error.within(place()))?);
            }
            clauses.push(Clause { matches });
        }
        rules.push(Rule { clauses });
    }
    Ok(Policy {
        scope: scope(message.scope)?,
        namespace: message.namespace,
        name: message.name,
        action,
        rules,
        dry_run: message.dry_run,
    })
}

/// Whatever an extension would change of the decision, we would not do it.
fn extensions(extensions: &[proto::Extension]) -> Result<()> {
    match extensions.first() {
        None => Ok(()),
        Some(first) => Err(Invalid::new("extensions", format!("{:?} is not known", first.name))),
    }
}

fn match_from_wire(part: &proto::Match) -> Result<Match> {
    extensions(&part.extensions)?;
    Ok(Match {
        namespaces: both("namespaces", (&part.namespaces, &part.not_namespaces), text)?,
        principals: both("principals", (&part.principals, &part.not_principals), text)?,
        service_accounts: both(
            "service_accounts",
            (&part.service_accounts, &part.not_service_accounts),
            account,
        )?,
        source_ips: both("source_ips", (&part.source_ips, &part.not_source_ips), network)?,
        destination_ips: both(
            "destination_ips",
            (&part.destination_ips, &part.not_destination_ips),
            network,
        )?,
        destination_ports: both(
            "destination_ports",
            (&part.destination_ports, &part.not_destination_ports),
            |field, port: &u32| port_number(field, *port),
        )?,
    })
}

fn both<M, T>(
    name: &str,
    (any, none): (&[M], &[M]),
    one: impl Fn(String, &M) -> Result<T>,
) -> Result<Field<T>> {
    let all = |prefix: &str, messages: &[M]| -> Result<Vec<T>> {
        let numbered = messages.iter().enumerate();
        numbered.map(|(at, message)| one(format!("{prefix}{name}[{at}]"), message)).collect()
    };
    Ok(Field { any: all("", any)?, none: all("not_", none)? })
}

fn text(field: String, message: &proto::StringMatch) -> Result<Text> {
    match &message.match_type {
        Some(proto::MatchType::Exact(text)) => Ok(Text::Exact(text.clone())),
        Some(proto::MatchType::Prefix(text)) => Ok(Text::Prefix(text.clone())),
        Some(proto::MatchType::Suffix(text)) => Ok(Text::Suffix(text.clone())),
        Some(proto::MatchType::Presence(())) => Ok(Text::Presence),
        None => Err(Invalid::new(field, "it does not say how to compare")),
    }
}

fn account(field: String, message: &proto::ServiceAccountMatch) -> Result<Account> {
    if message.namespace.is_empty() || message.service_account.is_empty() {
        return Err(Invalid::new(field, "it takes a namespace and a name"));
    }
    Ok(Account { namespace: message.namespace.clone(), name: message.service_account.clone() })
}

fn network(field: String, message: &proto::Address) -> Result<Network> {
    let address = address_from_wire(&field, &message.address)?;
    let length = u8::try_from(message.length).ok().and_then(|length| Network::new(address, length));
    length.ok_or_else(|| Invalid::new(field, format!("{address} has no {} bits", message.length)))
}

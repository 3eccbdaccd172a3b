//! AuthorizationPolicy, translated as Istio's own control plane does it for ztunnel.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::identity::DEFAULT_TRUST_DOMAIN;
use model::mesh::Policy;
use model::mesh::policy::{Account, Action, Clause, Field, Match, Network, Rule, Scope, Text};

use super::super::read::{Json, Result, Wrong};
use super::super::{Options, Path, Problem};
use super::{Custom, DRY_RUN_ANNOTATION, Selector};

/// A policy, or what is known of one that cannot be understood.
#[derive(Debug)]
pub(in super::super) struct Authorization {
    pub(in super::super) listing: Listing,
    /// Only said, never done.
    pub(in super::super) dry_run: bool,
    pub(in super::super) policy: Result<Policy>,
}

/// Who has to list a policy.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Listing {
    /// `namespace/name`.
    pub(in super::super) key: String,
    namespace: String,
    selector: Selector,
    /// Whether anybody has to: because it selects, or because it cannot be read and would apply.
    pub(in super::super) listed: bool,
}

impl Authorization {
    pub(in super::super) fn read(custom: &Custom, options: &Options) -> Self {
        let policy = custom.is_of_size().and_then(|()| policy(custom, options));
        // Where even this is not clear, it counts as meant.
        let audit = custom.spec.get("action").and_then(|action| action.as_str()) == Some("AUDIT");
        let dry_run = audit || dry_run(custom).unwrap_or(false);
        let (selector, listed) = match &policy {
            Ok(policy) => (custom.selector().ok().flatten(), policy.scope == Scope::Selected),
            Err(_) => (custom.selector_at_worst(), !dry_run),
        };
        let (key, namespace) = (custom.key(), custom.namespace().to_owned());
        Self { listing: Listing { key, namespace, selector, listed }, dry_run, policy }
    }

    /// What is wrong with it.
    pub(in super::super) fn problem(&self, custom: &Custom) -> Option<Problem> {
        let wrong = self.policy.as_ref().err()?;
        Some(custom.problem("AuthorizationPolicy", wrong.clone(), !self.dry_run))
    }
}

impl Listing {
    /// Whether a workload has to list it.
    pub(in super::super) fn is_of(
        &self,
        root: &str,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.listed && super::selects((&self.namespace, &self.selector), root, namespace, labels)
    }
}

/// As Go reads truth values, and so Istio.
fn dry_run(custom: &Custom) -> Result<bool> {
    let annotations = custom.metadata.annotations.as_ref();
    match annotations.and_then(|all| all.get(DRY_RUN_ANNOTATION)).map(String::as_str) {
        None | Some("" | "0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
        Some(other) => Err(Wrong {
            path: Path::of(&["metadata", "annotations", DRY_RUN_ANNOTATION]),
            code: &model::codes::mesh::MESH_OBJECT,
            message: format!("{other:?} is neither \"true\" nor \"false\""),
        }),
    }
}

fn policy(custom: &Custom, options: &Options) -> Result<Policy> {
    let spec = custom.spec();
    spec.fields(&["selector", "action", "rules"], &["targetRef", "targetRefs", "provider"])?;
    let selector = custom.selector()?;
    let dry_run = dry_run(custom)?;
    let (action, audit) = match spec.get("action") {
        None => (Action::Allow, false),
        Some(action) => match action.text()? {
            "ALLOW" => (Action::Allow, false),
            "DENY" => (Action::Deny, false),
            "AUDIT" => (Action::Deny, true),
            "CUSTOM" => return action.beyond("CUSTOM asks another service about each request"),
            other => {
                return action
                    .wrong(format!("there is no action {other:?}; there are ALLOW, DENY and AUDIT"));
            }
        },
    };
    let mut translated = Vec::new();
    for rule in spec.get("rules").map(|rules| rules.items()).transpose()?.unwrap_or_default() {
        translated.push(Reader { namespace: custom.namespace(), options }.rule(&rule)?);
    }
    if action == Action::Deny && translated.is_empty() {
        return spec.wrong("without `rules` nothing is ever denied; `rules: [{}]` denies everything");
    }
    let scope = match selector {
        Some(_) => Scope::Selected,
        None if custom.namespace() == options.root_namespace => Scope::Global,
        None => Scope::Namespace,
    };
    Ok(Policy {
        namespace: custom.namespace().to_owned(),
        name: custom.name().to_owned(),
        scope,
        action,
        rules: translated,
        dry_run: dry_run || audit,
    })
}

struct Reader<'o> {
    namespace: &'o str,
    options: &'o Options,
}

impl Reader<'_> {
    fn rule(&self, rule: &Json<'_>) -> Result<Rule> {
        if rule.value.is_null() {
            return rule.wrong("this rule is nothing; write {} for one that always matches");
        }
        rule.fields(&["from", "to", "when"], &[])?;
        let mut clauses = Vec::new();
        for (key, inner) in [("from", "source"), ("to", "operation")] {
            let mut matches = Vec::new();
            for item in rule.some_items(key)? {
                item.fields(&[inner], &[])?;
                let Some(part) = item.get(inner) else { return item.wrong(format!("`{inner}` is missing")) };
                let found = if key == "from" { self.source(&part)? } else { operation(&part)? };
                if found == Match::default() {
                    return part.wrong("it says nothing, so that it would never match");
                }
                matches.push(found);
            }
            if !matches.is_empty() {
                clauses.push(Clause { matches });
            }
        }
        for condition in rule.some_items("when")? {
            clauses.push(Clause { matches: vec![self.condition(&condition)?] });
        }
        if clauses.is_empty() {
            clauses.push(always());
        }
        Ok(Rule { clauses })
    }

    fn source(&self, source: &Json<'_>) -> Result<Match> {
        source.fields(
            &[
                "principals",
                "notPrincipals",
                "namespaces",
                "notNamespaces",
                "serviceAccounts",
                "notServiceAccounts",
                "ipBlocks",
                "notIpBlocks",
            ],
            &[
                "requestPrincipals",
                "notRequestPrincipals",
                "remoteIpBlocks",
                "notRemoteIpBlocks",
                "trustDomains",
                "notTrustDomains",
            ],
        )?;
        let found = Match {
            principals: field(source, "principals", "notPrincipals", |text| self.principal(text))?,
            namespaces: field(source, "namespaces", "notNamespaces", text)?,
            service_accounts: field(source, "serviceAccounts", "notServiceAccounts", |text| {
                self.account(text)
            })?,
            source_ips: field(source, "ipBlocks", "notIpBlocks", network)?,
            ..Match::default()
        };
        let other = found.principals != Field::default() || found.namespaces != Field::default();
        if other && found.service_accounts != Field::default() {
            return source.wrong("serviceAccounts cannot stand beside principals or namespaces");
        }
        Ok(found)
    }

    fn condition(&self, condition: &Json<'_>) -> Result<Match> {
        condition.fields(&["key", "values", "notValues"], &[])?;
        let Some(key) = condition.get("key") else { return condition.wrong("`key` is missing") };
        if condition.get("values").is_none() && condition.get("notValues").is_none() {
            return condition.wrong("`values` or `notValues` is needed");
        }
        let mut found = Match::default();
        let (yes, no) = ("values", "notValues");
        match key.text()? {
            "source.principal" => found.principals = field(condition, yes, no, |text| self.principal(text))?,
            "source.namespace" => found.namespaces = field(condition, yes, no, text)?,
            "source.serviceAccount" => {
                found.service_accounts = field(condition, yes, no, |text| self.account(text))?;
            }
            "source.ip" => found.source_ips = field(condition, yes, no, network)?,
            "destination.ip" => found.destination_ips = field(condition, yes, no, network)?,
            "destination.port" => found.destination_ports = field(condition, yes, no, port)?,
            other => return key.beyond(format!("{other:?} is not known of a connection")),
        }
        Ok(found)
    }

    /// A principal is written without `spiffe://`; with it, nothing else can be meant. And `cluster.local` is, as in
    /// Istio, whatever the trust domain is called.
    fn principal(&self, value: &Json<'_>) -> Result<Text> {
        let own = self.options.trust_domain.as_str();
        let written = value.text()?;
        let written = written.strip_prefix("spiffe://").unwrap_or(written);
        match written.split_once('/') {
            Some((DEFAULT_TRUST_DOMAIN, path)) => comparison(value, &format!("{own}/{path}")),
            _ => comparison(value, written),
        }
    }

    /// `namespace/name`, or a name in the policy's namespace.
    fn account(&self, value: &Json<'_>) -> Result<Account> {
        let written = value.text()?;
        let (namespace, name) = written.split_once('/').unwrap_or((self.namespace, written));
        if namespace.is_empty() || name.is_empty() || name.contains('/') || written.contains('*') {
            return value.wrong(format!(
                "{written:?} is no service account; write NAMESPACE/NAME or NAME, without `*`"
            ));
        }
        Ok(Account { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Matches everything, also for a ztunnel: an empty match matches nothing.
fn always() -> Clause {
    let all = [IpAddr::from([0_u8; 4]), IpAddr::from([0_u8; 16])];
    let any = all.into_iter().filter_map(|address| Network::new(address, 0)).collect();
    Clause { matches: vec![Match { source_ips: Field { any, none: Vec::new() }, ..Match::default() }] }
}

fn operation(operation: &Json<'_>) -> Result<Match> {
    let beyond = ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"];
    operation.fields(&["ports", "notPorts"], &beyond)?;
    Ok(Match { destination_ports: field(operation, "ports", "notPorts", port)?, ..Match::default() })
}

fn field<T>(of: &Json<'_>, yes: &str, no: &str, read: impl Fn(&Json<'_>) -> Result<T>) -> Result<Field<T>> {
    Ok(Field {
        any: of.some_items(yes)?.iter().map(&read).collect::<Result<_>>()?,
        none: of.some_items(no)?.iter().map(&read).collect::<Result<_>>()?,
    })
}

fn text(value: &Json<'_>) -> Result<Text> {
    comparison(value, value.text()?)
}

/// `*` is anything, `*end`, `start*`, or a whole text. Istio takes other stars as they are; they then match nothing,
/// which is not what anybody means, and in a policy that denies it is dangerous.
fn comparison(place: &Json<'_>, text: &str) -> Result<Text> {
    let (found, rest) = if text == "*" {
        return Ok(Text::Presence);
    } else if let Some(end) = text.strip_prefix('*') {
        (Text::Suffix(end.to_owned()), end)
    } else if let Some(start) = text.strip_suffix('*') {
        (Text::Prefix(start.to_owned()), start)
    } else {
        (Text::Exact(text.to_owned()), text)
    };
    if rest.is_empty() {
        return place.wrong("this is empty");
    }
    if rest.contains('*') {
        return place.wrong(format!("{text:?}: one `*` can stand at the beginning or at the end"));
    }
    Ok(found)
}

fn port(value: &Json<'_>) -> Result<u16> {
    let text = value.text()?;
    match text.parse() {
        Ok(port) if !text.starts_with('+') => Ok(port),
        _ => value.wrong(format!("{text:?} is no port")),
    }
}

fn network(value: &Json<'_>) -> Result<Network> {
    let text = value.text()?;
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let found = address.parse::<IpAddr>().ok().and_then(|address| {
        let length = match length {
            Some(length) if length.starts_with('+') => return None,
            Some(length) => length.parse().ok()?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Network::new(address, length)
    });
    match found {
        Some(network) => Ok(network),
        None => value.wrong(format!("{text:?} is neither an address nor a network such as 10.0.0.0/8")),
    }
}

//! The packet rules in the language of nft(8).

use std::fmt::Write as _;

use super::Subnet;
use super::encode::TABLE;
use super::rules::{Action, Chain, Hook, Match, Rule};

/// A table in full.
pub(super) fn table(chains: &[Chain]) -> String {
    let mut text = format!("table inet {TABLE} {{\n");
    for (n, chain) in chains.iter().enumerate() {
        let gap = if n == 0 { "" } else { "\n" };
        let hook = match chain.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Output => "output",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{gap}\tchain {} {{", chain.name);
        let _ =
            writeln!(text, "\t\ttype {} hook {hook} priority {}; policy accept;", chain.kind, chain.priority);
        for rule in &chain.rules {
            let _ = writeln!(text, "\t\t{}", self::rule(rule));
        }
        text.push_str("\t}\n");
    }
    text.push_str("}\n");
    text
}

fn rule(rule: &Rule) -> String {
    let mut words: Vec<String> = rule.matches.iter().map(matched).collect();
    words.push(match rule.action {
        Action::Return => "return".to_owned(),
        Action::Drop => "counter drop".to_owned(),
        Action::Redirect(port) => format!("redirect to :{port}"),
        Action::SetMark(mark) => format!("meta mark set {mark:#010x}"),
        Action::SetConnectionMark(mark) => format!("ct mark set {mark:#010x}"),
        Action::SetZone(zone) => format!("ct original zone set {zone}"),
    });
    words.push(format!("comment \"{}\"", rule.why));
    words.join(" ")
}

fn matched(matched: &Match) -> String {
    match matched {
        Match::OutLoopback => "oif \"lo\"".to_owned(),
        Match::InLoopback => "iif \"lo\"".to_owned(),
        Match::Mark(mark) => format!("meta mark {mark:#010x}"),
        Match::Uid(uid) => format!("meta skuid {uid}"),
        Match::From(subnet) => network("saddr", subnet),
        Match::To(subnet) => network("daddr", subnet),
        Match::Port(port) => format!("tcp dport {port}"),
        Match::Opens => "tcp flags syn / fin,syn,rst,ack".to_owned(),
        Match::Local => "fib daddr type local".to_owned(),
        Match::Reply => "ct direction reply".to_owned(),
        Match::ConnectionMark(mark) => format!("ct mark {mark:#010x}"),
    }
}

fn network(end: &str, subnet: &Subnet) -> String {
    match (subnet.address().is_ipv4(), subnet.length()) {
        (true, 0) => "meta nfproto ipv4".to_owned(),
        (false, 0) => "meta nfproto ipv6".to_owned(),
        (true, _) => format!("ip {end} {subnet}"),
        (false, _) => format!("ip6 {end} {subnet}"),
    }
}

//! The packet rules of a redirection, as data: one source for the kernel and for people.

use super::{HBONE, METRICS, READINESS, Redirection, Subnet, ZONE};

/// A base chain.
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// `filter`, `route` (routes a packet anew whose mark was changed) or `nat`.
    pub(super) kind: &'static str,
    pub(super) hook: Hook,
    pub(super) priority: i32,
    pub(super) rules: Vec<Rule>,
}

/// Where it looks at packets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// Those that arrive.
    Prerouting,
    /// Those that are made here.
    Output,
}

/// What is done with which packets, and why.
pub(super) struct Rule {
    pub(super) matches: Vec<Match>,
    pub(super) action: Action,
    pub(super) why: &'static str,
}

/// What a packet has to be.
pub(super) enum Match {
    /// Leaves for this machine itself.
    OutLoopback,
    /// Comes from this machine itself.
    InLoopback,
    /// Has this mark.
    Mark(u32),
    /// Was made by a socket of this user.
    Uid(u32),
    /// Comes from this network.
    From(Subnet),
    /// Goes to this network.
    To(Subnet),
    /// Is TCP to this port.
    Port(u16),
    /// Opens a TCP connection. Whatever belongs to an open one that is not known (yet) is left alone.
    Opens,
    /// Goes to an address of this machine.
    Local,
    /// Answers.
    Reply,
    /// Belongs to a connection with this mark.
    ConnectionMark(u32),
}

/// What is done with it.
pub(super) enum Action {
    /// Nothing more.
    Return,
    /// It goes to this port of this machine.
    Redirect(u16),
    /// It gets this mark.
    SetMark(u32),
    /// Its connection gets this mark.
    SetConnectionMark(u32),
    /// Its connection is known by what it is and this number; the answers by what they are.
    SetZone(u16),
}

/// Before connections are tracked (`NF_IP_PRI_RAW`).
const RAW: i32 = -300;
/// `NF_IP_PRI_MANGLE`.
const MANGLE: i32 = -150;
/// `NF_IP_PRI_NAT_DST`.
const NAT: i32 = -100;

impl Redirection {
    /// All chains; those that redirect are empty where nothing new is to be redirected.
    pub(super) fn chains(&self, redirects: bool) -> Vec<Chain> {
        let rule = |matches, action, why| Rule { matches, action, why };
        let zone = rule(
            vec![Match::OutLoopback, Match::Mark(self.mark)],
            Action::SetZone(ZONE),
            "from the proxy to its application: not the client's own connection",
        );
        let marks = vec![
            rule(
                vec![Match::OutLoopback, Match::Mark(self.mark)],
                Action::SetConnectionMark(self.answer_mark),
                "from the proxy to its application",
            ),
            rule(
                vec![Match::Reply, Match::ConnectionMark(self.answer_mark)],
                Action::SetMark(self.answer_mark),
                "the answer goes to the proxy, whose-ever address it is for",
            ),
        ];
        let (outbound, inbound) =
            if redirects { (self.outbound_rules(), self.inbound_rules()) } else { Default::default() };
        let chain = |name, kind, hook, priority, rules| Chain { name, kind, hook, priority, rules };
        vec![
            chain("zone", "filter", Hook::Output, RAW, vec![zone]),
            chain("answers", "route", Hook::Output, MANGLE, marks),
            chain("outbound", "nat", Hook::Output, NAT, outbound),
            chain("inbound", "nat", Hook::Prerouting, NAT, inbound),
        ]
    }

    fn outbound_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut except =
            |matched, why| rules.push(Rule { matches: vec![matched], action: Action::Return, why });
        except(Match::Mark(self.mark), "the proxy itself");
        if let Some(uid) = self.proxy_uid {
            except(Match::Uid(uid), "the proxy itself");
        }
        except(Match::OutLoopback, "stays in the pod");
        for port in &self.outbound.ports {
            except(Match::Port(*port), "excepted");
        }
        for subnet in &self.outbound.subnets {
            except(Match::To(*subnet), "excepted");
        }
        let to_proxy = |mut matches: Vec<Match>| {
            matches.push(Match::Opens);
            Rule { matches, action: Action::Redirect(self.outbound_port), why: "the pod calls" }
        };
        match self.only_outbound_subnets.is_empty() {
            true => rules.push(to_proxy(Vec::new())),
            false => rules
                .extend(self.only_outbound_subnets.iter().map(|subnet| to_proxy(vec![Match::To(*subnet)]))),
        }
        rules
    }

    fn inbound_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let mut except =
            |matched, why| rules.push(Rule { matches: vec![matched], action: Action::Return, why });
        except(Match::InLoopback, "stays in the pod");
        except(Match::Port(HBONE), "tunnels");
        except(Match::Port(METRICS), "metrics of the proxy");
        except(Match::Port(READINESS), "readiness of the proxy");
        for port in &self.inbound_ports {
            except(Match::Port(*port), "excepted");
        }
        for (node, port) in &self.probes {
            rules.push(Rule {
                matches: vec![Match::From(*node), Match::Port(*port)],
                action: Action::Return,
                why: "a probe of the node",
            });
        }
        rules.push(Rule {
            matches: vec![Match::Local, Match::Opens],
            action: Action::Redirect(self.inbound_port),
            why: "the pod is called in plain text",
        });
        rules
    }
}

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
    /// Those that have arrived for this machine.
    Input,
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
    /// It is counted, and goes nowhere.
    Drop,
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
/// Once addresses are translated (`NF_IP_PRI_FILTER`).
const FILTER: i32 = 0;

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
        let none = Vec::new;
        let (outbound, inbound, leaves, arrives) = match redirects {
            true => {
                (self.outbound_rules(), self.inbound_rules(), self.leaving_rules(), self.arriving_rules())
            }
            false => (none(), none(), none(), none()),
        };
        let chain = |name, kind, hook, priority, rules| Chain { name, kind, hook, priority, rules };
        vec![
            chain("zone", "filter", Hook::Output, RAW, vec![zone]),
            chain("answers", "route", Hook::Output, MANGLE, marks),
            chain("outbound", "nat", Hook::Output, NAT, outbound),
            chain("leaves", "filter", Hook::Output, FILTER, leaves),
            chain("inbound", "nat", Hook::Prerouting, NAT, inbound),
            chain("arrives", "filter", Hook::Input, FILTER, arrives),
        ]
    }

    /// What is not redirected when the pod calls.
    fn outbound_exceptions(&self) -> Vec<Rule> {
        let mut rules = vec![except(vec![Match::Mark(self.mark)], "the proxy itself")];
        if let Some(uid) = self.proxy_uid {
            rules.push(except(vec![Match::Uid(uid)], "the proxy itself"));
        }
        rules.push(except(vec![Match::OutLoopback], "stays in the pod"));
        rules.extend(self.outbound.ports.iter().map(|port| except(vec![Match::Port(*port)], "excepted")));
        rules.extend(self.outbound.subnets.iter().map(|subnet| except(vec![Match::To(*subnet)], "excepted")));
        rules
    }

    /// What becomes of all else that opens a connection from the pod.
    fn outbound_rest(&self, action: impl Fn() -> Action, why: &'static str) -> Vec<Rule> {
        let rest = |mut matches: Vec<Match>| {
            matches.push(Match::Opens);
            Rule { matches, action: action(), why }
        };
        match self.only_outbound_subnets.is_empty() {
            true => vec![rest(Vec::new())],
            false => self.only_outbound_subnets.iter().map(|subnet| rest(vec![Match::To(*subnet)])).collect(),
        }
    }

    fn outbound_rules(&self) -> Vec<Rule> {
        let mut rules = self.outbound_exceptions();
        rules.extend(self.outbound_rest(|| Action::Redirect(self.outbound_port), "the pod calls"));
        rules
    }

    /// A connection that the tracking takes for an open one is not translated, although it is opened just now: whoever
    /// wants that can bring it about. What should have gone to the proxy and did not goes nowhere.
    fn leaving_rules(&self) -> Vec<Rule> {
        let mut rules = self.outbound_exceptions();
        for loopback in Subnet::loopback() {
            rules.push(except(vec![Match::To(loopback)], "redirected"));
        }
        rules.extend(self.outbound_rest(|| Action::Drop, "not redirected, and not excepted"));
        rules
    }

    /// What is not redirected when the pod is called.
    fn inbound_exceptions(&self) -> Vec<Rule> {
        let mut rules = vec![
            except(vec![Match::InLoopback], "stays in the pod"),
            except(vec![Match::Port(HBONE)], "tunnels"),
            except(vec![Match::Port(METRICS)], "metrics of the proxy"),
            except(vec![Match::Port(READINESS)], "readiness of the proxy"),
        ];
        rules.extend(self.inbound_ports.iter().map(|port| except(vec![Match::Port(*port)], "excepted")));
        rules.extend(
            self.probes.iter().map(|(node, port)| {
                except(vec![Match::From(*node), Match::Port(*port)], "a probe of the node")
            }),
        );
        rules
    }

    fn inbound_rules(&self) -> Vec<Rule> {
        let mut rules = self.inbound_exceptions();
        rules.push(Rule {
            matches: vec![Match::Local, Match::Opens],
            action: Action::Redirect(self.inbound_port),
            why: "the pod is called in plain text",
        });
        rules
    }

    /// As [`Redirection::leaving_rules`], for what arrives.
    fn arriving_rules(&self) -> Vec<Rule> {
        let mut rules = self.inbound_exceptions();
        rules.push(except(vec![Match::Port(self.inbound_port)], "redirected"));
        rules.push(Rule {
            matches: vec![Match::Opens],
            action: Action::Drop,
            why: "not redirected, and not excepted",
        });
        rules
    }
}

fn except(matches: Vec<Match>, why: &'static str) -> Rule {
    Rule { matches, action: Action::Return, why }
}

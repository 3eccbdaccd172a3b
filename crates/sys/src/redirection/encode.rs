//! The packet rules as the kernel takes them: a batch of nfnetlink messages (`linux/netfilter/nfnetlink.h`,
//! `linux/netfilter/nf_tables.h`), which it carries out as one transaction. Numbers below are that header's.

use std::io;

use rustix::net::netlink;

use super::Subnet;
use super::rules::{Action, Chain, Hook, Match, Rule};
use crate::netlink::{APPEND, Attributes, CREATE, Messages};

/// Our own table: nobody else's rules are touched.
pub(super) const TABLE: &str = "handfast";

/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES`, in the upper half of a message's type.
pub(super) const NFTABLES: u16 = 10;
/// `enum nf_tables_msg_types`.
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
/// `NFPROTO_INET`: IPv4 and IPv6 alike.
pub(super) const INET: u8 = 1;
/// `enum nft_registers`: a verdict, and the first of those for data.
const VERDICT: u32 = 0;
const REGISTER: u32 = 1;
/// `LOOPBACK_IFINDEX`: in each namespace.
const LOOPBACK: u32 = 1;
/// `NFT_RETURN`, `NF_DROP`.
const RETURN: i32 = -5;
const DROP: i32 = 0;
/// Transport protocol TCP; address families as `NFPROTO_*`.
const TCP: u8 = 6;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// Puts a table with these chains in place of the one that was.
pub(super) fn replace(chains: &[Chain]) -> io::Result<()> {
    batch(|messages| {
        delete(messages);
        push(messages, NEW_TABLE, CREATE, |table| table.text(1, TABLE));
        for chain in chains {
            push(messages, NEW_CHAIN, CREATE, |attributes| encode_chain(chain, attributes));
            for rule in &chain.rules {
                push(messages, NEW_RULE, CREATE | APPEND, |attributes| {
                    attributes.text(1, TABLE);
                    attributes.text(2, chain.name);
                    encode_rule(rule, attributes);
                });
            }
        }
    })
}

/// Takes the table away, if there is one.
pub(super) fn remove() -> io::Result<()> {
    batch(delete)
}

/// What is not there cannot be deleted; so it is made first, within the same transaction.
fn delete(messages: &mut Messages) {
    push(messages, NEW_TABLE, CREATE, |table| table.text(1, TABLE));
    push(messages, DELETE_TABLE, 0, |table| table.text(1, TABLE));
}

fn batch(body: impl FnOnce(&mut Messages)) -> io::Result<()> {
    let mut messages = Messages::default();
    // struct nfgenmsg: family, version, and for a batch the subsystem.
    let [high, low] = NFTABLES.to_be_bytes();
    messages.push(BATCH_BEGIN, 0, &[0, 0, high, low], |_| ());
    body(&mut messages);
    // A failure is reported of each message without asking; success of the last one is that of all.
    let last = messages.acknowledge();
    messages.push(BATCH_END, 0, &[0, 0, high, low], |_| ());
    messages.send(Some(netlink::NETFILTER), last)
}

fn push(messages: &mut Messages, kind: u16, flags: u16, body: impl FnOnce(&mut Attributes<'_>)) {
    messages.push(NFTABLES << 8 | kind, flags, &[INET, 0, 0, 0], body);
}

/// `NFTA_CHAIN_*`.
fn encode_chain(chain: &Chain, attributes: &mut Attributes<'_>) {
    attributes.text(1, TABLE);
    attributes.text(3, chain.name);
    attributes.nested(4, |hook| {
        // `enum nf_inet_hooks`.
        let number = match chain.hook {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Output => 3,
        };
        hook.network(1, number);
        hook.network(2, chain.priority as u32);
    });
    // NF_ACCEPT.
    attributes.network(5, 1);
    attributes.text(7, chain.kind);
}

/// `NFTA_RULE_EXPRESSIONS`, and the comment in the user data as nft(8) has it.
fn encode_rule(rule: &Rule, attributes: &mut Attributes<'_>) {
    attributes.nested(4, |list| {
        for matched in &rule.matches {
            encode_match(matched, list);
        }
        encode_action(&rule.action, list);
    });
    let mut comment = vec![0, rule.why.len() as u8 + 1];
    comment.extend(rule.why.as_bytes());
    comment.push(0);
    attributes.bytes(7, &comment);
}

/// `NFTA_LIST_ELEM` with `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
fn expression(list: &mut Attributes<'_>, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
    list.nested(1, |element| {
        element.text(1, name);
        element.nested(2, data);
    });
}

fn encode_match(matched: &Match, list: &mut Attributes<'_>) {
    match matched {
        Match::OutLoopback => meta(list, 5, &LOOPBACK.to_ne_bytes()),
        Match::InLoopback => meta(list, 4, &LOOPBACK.to_ne_bytes()),
        Match::Mark(mark) => meta(list, 3, &mark.to_ne_bytes()),
        Match::Uid(uid) => meta(list, 10, &uid.to_ne_bytes()),
        // Where the addresses stand in the headers of IPv4 and IPv6.
        Match::From(subnet) => network(list, subnet, 12, 8),
        Match::To(subnet) => network(list, subnet, 16, 24),
        Match::Port(port) => {
            meta(list, 16, &[TCP]);
            // The destination's port in the transport header (2).
            payload(list, 2, 2, 2);
            equals(list, &port.to_be_bytes());
        }
        Match::Opens => {
            meta(list, 16, &[TCP]);
            // FIN 1, SYN 2, RST 4, ACK 16.
            payload(list, 2, 13, 1);
            bits(list, &[0x17]);
            equals(list, &[0x02]);
        }
        Match::Local => {
            // `NFTA_FIB_*`: the type (3) of the destination's address (flag 2) is RTN_LOCAL.
            expression(list, "fib", |fib| {
                fib.network(1, REGISTER);
                fib.network(2, 3);
                fib.network(3, 2);
            });
            equals(list, &2_u32.to_ne_bytes());
        }
        Match::Reply => {
            ct(list, 1);
            equals(list, &[1]);
        }
        Match::ConnectionMark(mark) => {
            ct(list, 3);
            equals(list, &mark.to_ne_bytes());
        }
    }
}

fn encode_action(action: &Action, list: &mut Attributes<'_>) {
    match action {
        Action::Return => verdict(list, RETURN),
        Action::Drop => {
            expression(list, "counter", |_| ());
            verdict(list, DROP);
        }
        Action::Redirect(port) => {
            load(list, &port.to_be_bytes());
            // `NFTA_REDIR_*`; NF_NAT_RANGE_PROTO_SPECIFIED.
            expression(list, "redir", |redirect| {
                redirect.network(1, REGISTER);
                redirect.network(3, 2);
            });
        }
        Action::SetMark(mark) => {
            load(list, &mark.to_ne_bytes());
            expression(list, "meta", |meta| {
                meta.network(2, 3);
                meta.network(3, REGISTER);
            });
        }
        Action::SetConnectionMark(mark) => {
            load(list, &mark.to_ne_bytes());
            expression(list, "ct", |ct| {
                ct.network(2, 3);
                ct.network(4, REGISTER);
            });
        }
        Action::SetZone(zone) => {
            load(list, &zone.to_ne_bytes());
            expression(list, "ct", |ct| {
                ct.network(2, 17);
                // IP_CT_DIR_ORIGINAL.
                ct.bytes(3, &[0]);
                ct.network(4, REGISTER);
            });
        }
    }
}

/// What becomes of the packet: `NFTA_DATA_VERDICT` with `NFTA_VERDICT_CODE`.
fn verdict(list: &mut Attributes<'_>, code: i32) {
    expression(list, "immediate", |immediate| {
        immediate.network(1, VERDICT);
        immediate.nested(2, |data| data.nested(2, |verdict| verdict.network(1, code as u32)));
    });
}

/// An address in the header of the network's protocol (1) has to be of a network.
fn network(list: &mut Attributes<'_>, subnet: &Subnet, of_ipv4: u32, of_ipv6: u32) {
    let octets = subnet.octets();
    let is_ipv4 = octets.len() == 4;
    meta(list, 15, &[if is_ipv4 { IPV4 } else { IPV6 }]);
    if subnet.length() > 0 {
        payload(list, 1, if is_ipv4 { of_ipv4 } else { of_ipv6 }, octets.len() as u32);
        bits(list, &subnet.mask());
        equals(list, &octets);
    }
}

/// A key of `enum nft_meta_keys` has to have a value.
fn meta(list: &mut Attributes<'_>, key: u32, value: &[u8]) {
    expression(list, "meta", |meta| {
        meta.network(1, REGISTER);
        meta.network(2, key);
    });
    equals(list, value);
}

/// Loads a key of `enum nft_ct_keys`.
fn ct(list: &mut Attributes<'_>, key: u32) {
    expression(list, "ct", |ct| {
        ct.network(1, REGISTER);
        ct.network(2, key);
    });
}

/// Loads a part of a header of `enum nft_payload_bases`.
fn payload(list: &mut Attributes<'_>, base: u32, offset: u32, length: u32) {
    expression(list, "payload", |payload| {
        payload.network(1, REGISTER);
        payload.network(2, base);
        payload.network(3, offset);
        payload.network(4, length);
    });
}

/// Keeps some bits of the register.
fn bits(list: &mut Attributes<'_>, mask: &[u8]) {
    expression(list, "bitwise", |bitwise| {
        bitwise.network(1, REGISTER);
        bitwise.network(2, REGISTER);
        bitwise.network(3, mask.len() as u32);
        bitwise.nested(4, |data| data.bytes(1, mask));
        bitwise.nested(5, |data| data.bytes(1, &vec![0; mask.len()]));
    });
}

/// The register has to have a value.
fn equals(list: &mut Attributes<'_>, value: &[u8]) {
    expression(list, "cmp", |cmp| {
        cmp.network(1, REGISTER);
        cmp.network(2, 0);
        cmp.nested(3, |data| data.bytes(1, value));
    });
}

/// The register gets a value.
fn load(list: &mut Attributes<'_>, value: &[u8]) {
    expression(list, "immediate", |immediate| {
        immediate.network(1, REGISTER);
        immediate.nested(2, |data| data.bytes(1, value));
    });
}

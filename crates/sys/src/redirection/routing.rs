//! Where answers to foreign addresses go: a rule that sends packets with the answer mark to a table of its own, in
//! which everything is this machine (`linux/fib_rules.h`, `linux/rtnetlink.h`; numbers below are those headers').

use std::io;

use super::{Error, Redirection};
use crate::netlink::{CREATE, EXCL, Messages};

const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
/// After the machine's own addresses (0), long before the main table (32766).
const PRIORITY: u32 = 1337;
/// `LOOPBACK_IFINDEX`.
const LOOPBACK: u32 = 1;

/// Address families, with their names.
const FAMILIES: [(u8, &str); 2] = [(libc::AF_INET as u8, "-4"), (libc::AF_INET6 as u8, "-6")];

/// What was made, and has to go again if the rest fails.
pub(super) struct Made<'a> {
    redirection: &'a Redirection,
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
struct Part {
    family: u8,
    is_rule: bool,
}

impl Made<'_> {
    pub(super) fn undo(self) {
        for part in self.parts.iter().rev() {
            // The failure that led here is the one to tell.
            let _ = change(self.redirection, *part, false);
        }
    }
}

/// What [`add`] does, for people.
pub(super) fn describe(redirection: &Redirection) -> String {
    let (mark, table) = (redirection.answer_mark, redirection.table);
    let lines = FAMILIES.map(|(_, family)| {
        format!(
            "# ip {family} route add local default dev lo table {table}\n\
             # ip {family} rule add fwmark {mark:#x} lookup {table} priority {PRIORITY}\n"
        )
    });
    lines.concat()
}

/// Makes rules and routes that are not there yet.
pub(super) fn add(redirection: &Redirection) -> Result<Made<'_>, Error> {
    let mut made = Made { redirection, parts: Vec::new() };
    for part in parts() {
        match change(redirection, part, true) {
            Ok(()) => made.parts.push(part),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) if part.family == libc::AF_INET6 as u8 && is_without_ipv6(&error) => {}
            Err(source) => {
                made.undo();
                return Err(Error::Kernel { what: "the route of the answers", source });
            }
        }
    }
    Ok(made)
}

/// Takes them away.
pub(super) fn remove(redirection: &Redirection) -> Result<(), Error> {
    for part in parts() {
        match change(redirection, part, false) {
            Ok(()) => {}
            // There is none; or no IPv6.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(error) if part.family == libc::AF_INET6 as u8 && is_without_ipv6(&error) => {}
            Err(source) => {
                return Err(Error::Kernel { what: "to delete the route of the answers", source });
            }
        }
    }
    Ok(())
}

fn parts() -> impl Iterator<Item = Part> {
    FAMILIES.into_iter().flat_map(|(family, _)| [false, true].map(|is_rule| Part { family, is_rule }))
}

/// The kernel has no IPv6, or it is switched off (`disable_ipv6`): then there are no answers to lead.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EACCES | libc::ENODEV))
}

fn change(redirection: &Redirection, part: Part, add: bool) -> io::Result<()> {
    let mut messages = Messages::default();
    let flags = if add { CREATE | EXCL } else { 0 };
    let table = redirection.table as u8;
    match part.is_rule {
        true => {
            // struct fib_rule_hdr: family, lengths of the addresses, type of service, table, two unused, action
            // (FR_ACT_TO_TBL), flags.
            let fixed = [part.family, 0, 0, 0, table, 0, 0, 1, 0, 0, 0, 0];
            let kind = if add { NEW_RULE } else { DELETE_RULE };
            messages.push(kind, flags, &fixed, |rule| {
                rule.native(6, PRIORITY);
                rule.native(10, redirection.answer_mark);
                rule.native(16, u32::MAX);
            });
        }
        false => {
            // struct rtmsg: family, lengths, type of service, table, protocol (RTPROT_STATIC), scope (host), type
            // (RTN_LOCAL), flags.
            let fixed = [part.family, 0, 0, 0, table, 4, 254, 2, 0, 0, 0, 0];
            let kind = if add { NEW_ROUTE } else { DELETE_ROUTE };
            messages.push(kind, flags, &fixed, |route| {
                // RTA_OIF.
                route.native(4, LOOPBACK);
            });
        }
    }
    let last = messages.acknowledge();
    // NETLINK_ROUTE is protocol 0.
    messages.send(None, last)
}

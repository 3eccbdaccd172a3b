//! Whether an end is a refusal of the client, or only how the application answers everybody.
//!
//! An alert or a closed connection refuses whoever was asked for a certificate. An HTTP status refuses only if
//! the server asked for a certificate in the handshake and answers the good one otherwise: a site that says 403
//! to all the world verifies nobody.

use super::Context;
use crate::attempt::{End, Outcome, Version};

/// What an end means for the client that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It was turned away for its certificate (or for having none).
    Refused,
    /// It seems so, but an answer to a good certificate would have to be seen to be sure.
    Perhaps,
    /// It was let in: the server never asked for a certificate.
    NeverAsked,
    /// It was let in as far as the good certificate is, which gets the same answer.
    SameForAll,
    /// It was let in.
    LetIn,
    /// Neither: no answer, or this client gave up.
    Unknown,
}

impl Judgement {
    /// Whether the client was turned away.
    pub(super) fn is_refused(self) -> bool {
        matches!(self, Self::Refused | Self::Perhaps)
    }

    /// Whether the client got as far as anybody does.
    pub(super) fn is_let_in(self) -> bool {
        matches!(self, Self::NeverAsked | Self::SameForAll | Self::LetIn)
    }
}

/// Judges an end, knowing whether the server asked for a certificate and how the good one ended, if there is one.
pub(super) fn judge(end: &End, handshake: bool, asked: bool, good: Option<&End>) -> Judgement {
    match end {
        // Before the handshake was done, nothing but TLS can have ended it.
        end if end.is_cut() && (asked || !handshake) => Judgement::Refused,
        end if end.is_cut() => Judgement::NeverAsked,
        end if end.may_refuse() => match good {
            _ if !asked => Judgement::NeverAsked,
            _ if end.names_the_certificate() => Judgement::Refused,
            Some(good) if good.status() == end.status() => Judgement::SameForAll,
            None => Judgement::Perhaps,
            Some(_) => Judgement::Refused,
        },
        end if end.is_accepted() => Judgement::LetIn,
        _ => Judgement::Unknown,
    }
}

impl Context {
    /// Judges an attempt at the target's own name.
    pub(super) fn judge(&self, version: Option<Version>, outcome: &Outcome) -> Judgement {
        // A resumed session asks for nothing; its full handshake did.
        let surveyed = version.and_then(|version| self.surveyed(version));
        let asked = outcome.facts.asked.is_some() || surveyed.is_some_and(|full| full.facts.asked.is_some());
        judge(&outcome.end, outcome.handshake, asked, self.good_end(version))
    }

    /// How the good certificate ended, over this version or any.
    pub(super) fn good_end(&self, version: Option<Version>) -> Option<&End> {
        let of = |version: Version| self.proven[version as usize].as_ref().map(|outcome| &outcome.end);
        match version {
            Some(version) => of(version),
            None => of(Version::Tls13).or_else(|| of(Version::Tls12)),
        }
    }
}

/// What came, in words that do not call an application's answer a refusal.
pub(super) fn in_words(end: &End, judgement: Judgement) -> String {
    match (judgement.is_let_in(), end.to_string()) {
        (true, text) => match text.strip_prefix("refused, ") {
            Some(rest) if end.status().is_some() => format!("answered, {rest}"),
            Some(rest) => format!("handshake done without a certificate, then {rest}"),
            None => text,
        },
        (false, text) => text,
    }
}

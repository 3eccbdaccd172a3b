//! Why the controller did not do what was wanted: one type, each variant with its code. No variant holds key
//! material, and every message fits on one line: it becomes the message of a condition.

use model::codes::{Code, Coded, kube as codes};

/// Shorthand of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not answer, or not in a way that can be read.
    #[error("the API server cannot be asked to {action}: {reason}")]
    Unreachable {
        /// What was tried.
        action: String,
        /// The whole chain of causes.
        reason: String,
    },
    /// The API server refused.
    #[error("the API server does not allow to {action}: {reason}")]
    Forbidden {
        /// What was tried.
        action: String,
        /// Its message.
        reason: String,
    },
    /// Somebody else wrote at the same time.
    #[error("somebody else changed it while trying to {action}: {reason}")]
    Conflict {
        /// What was tried.
        action: String,
        /// Its message.
        reason: String,
    },
    /// The API server answered with another error.
    #[error("the API server refused to {action}: {reason} ({status})")]
    Answer {
        /// What was tried.
        action: String,
        /// Its message.
        reason: String,
        /// The HTTP status.
        status: u16,
    },
    /// The namespace is being deleted: nothing can be made in it, and nothing needs to be.
    #[error("the namespace {0} is being deleted")]
    NamespaceEnds(String),
    /// The authority's Secret is not there.
    #[error("the Secret {0} does not exist")]
    AuthorityMissing(String),
    /// The authority's Secret is empty, and was not always.
    #[error(
        "the Secret {name} is empty, but there has been an authority: {trace}; no new one takes its place by itself"
    )]
    AuthorityLost {
        /// The Secret.
        name: String,
        /// What shows that there was one.
        trace: String,
    },
    /// The authority's Secret cannot be used.
    #[error("the authority's Secret cannot be used: {0}")]
    AuthorityBroken(String),
    /// The authority is of another trust domain.
    #[error("the authority is of the trust domain {found}, and this controller of {wanted}")]
    AuthorityDomain {
        /// Whose authority it is.
        found: String,
        /// What this controller was told.
        wanted: String,
    },
    /// The authority does not take this step now.
    #[error("{0}")]
    Step(String),
    /// A name is not granted.
    #[error("{0}")]
    Name(String),
    /// The Certificate cannot be understood.
    #[error("{0}")]
    Spec(String),
    /// The Secret is somebody else's.
    #[error("the Secret {name} is not touched: {reason}")]
    SecretForeign {
        /// The Secret.
        name: String,
        /// Whose it is.
        reason: String,
    },
    /// The controller may not touch the Secret.
    #[error("the controller may not {verb} the Secret {name}: {reason}")]
    SecretForbidden {
        /// What it tried.
        verb: &'static str,
        /// The Secret.
        name: String,
        /// The API server's message.
        reason: String,
    },
    /// The controller may not restart a workload.
    #[error("the controller may not {action}: {reason}")]
    RestartForbidden {
        /// What it tried.
        action: String,
        /// The API server's message.
        reason: String,
    },
    /// The password of keystores is missing.
    #[error("no keystore without a password: {0}")]
    Password(String),
    /// The issuer ends too soon.
    #[error("{issuer} ends at {at}, and no certificate may outlive it")]
    IssuerEnds {
        /// The authority.
        issuer: String,
        /// When it ends.
        at: String,
    },
    /// The clocks differ.
    #[error(
        "this clock is {seconds} seconds {direction} the API server's, and nothing is issued by a wrong clock"
    )]
    Clock {
        /// By how much.
        seconds: u64,
        /// `ahead of` or `behind`.
        direction: &'static str,
    },
    /// The clocks were not compared.
    #[error(
        "this clock could not be compared with the API server's, and nothing is issued by a clock that may be wrong"
    )]
    ClockUnknown,
    /// An option is wrong.
    #[error("{0}")]
    Option(String),
    /// Keys and certificates.
    #[error(transparent)]
    Certs(#[from] certs::Error),
    /// Formats of keystores.
    #[error("the keystores cannot be written: {0}")]
    Format(#[from] certs::formats::FormatError),
}

impl Error {
    /// The API server's error on an attempt to do something, as in `read the Secret a/b`.
    pub fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |error| match error {
            kube::Error::Api(status) => {
                let reason = one_line(&status.message);
                match status.code {
                    _ if status.reason == "Forbidden" && reason.contains("being terminated") => {
                        Self::NamespaceEnds(reason)
                    }
                    403 | 401 => Self::Forbidden { action, reason },
                    409 => Self::Conflict { action, reason },
                    status => Self::Answer { action, reason, status },
                }
            }
            other => Self::Unreachable { action, reason: chain(&other) },
        }
    }

    /// Whether trying again soon, with nothing changed, may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Conflict { .. })
            || matches!(self, Self::Answer { status, .. } if *status == 429 || *status >= 500)
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Unreachable { .. } => &codes::KUBE_NOT_REACHED,
            Self::Forbidden { .. } => &codes::KUBE_FORBIDDEN,
            Self::Conflict { .. } => &codes::KUBE_CONFLICT,
            Self::Answer { .. } | Self::NamespaceEnds(_) => &codes::KUBE_ANSWER,
            Self::AuthorityMissing(_) | Self::AuthorityLost { .. } => &codes::AUTHORITY_MISSING,
            Self::AuthorityBroken(_) => &codes::AUTHORITY_BROKEN,
            Self::AuthorityDomain { .. } => &codes::AUTHORITY_DOMAIN,
            Self::Step(_) => &codes::AUTHORITY_STEP,
            Self::Name(_) => &codes::CERTIFICATE_NAME_REFUSED,
            Self::Spec(_) => &codes::CERTIFICATE_SPEC,
            Self::SecretForeign { .. } => &codes::SECRET_FOREIGN,
            Self::SecretForbidden { .. } => &codes::SECRET_FORBIDDEN,
            Self::RestartForbidden { .. } => &codes::RESTART_FORBIDDEN,
            Self::Password(_) => &codes::STORE_PASSWORD_MISSING,
            Self::IssuerEnds { .. } => &codes::ISSUER_ENDS,
            Self::Clock { .. } | Self::ClockUnknown => &codes::CONTROLLER_CLOCK,
            Self::Option(_) => &codes::OPTION_INVALID,
            Self::Certs(error) => error.code(),
            Self::Format(error) => error.code(),
        }
    }
}

/// An error and all that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = one_line(&error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        let more = one_line(&cause.to_string());
        // Many errors repeat their source in their own message.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

/// What a condition or a line of the audit log says: the API server takes 32768 bytes, a person reads less.
pub fn shortened(text: String) -> String {
    const LONGEST: usize = 1000;
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['.', '.', '.']).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

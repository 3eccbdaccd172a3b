//! Why something was not said, or not heard: one type, each variant with its code.

use model::codes::{Code, Coded, mesh as codes};

/// What went wrong between two processes.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The other end cannot be reached, or is not who it has to be.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Who was called.
        address: String,
        /// The whole chain of causes.
        reason: String,
    },
    /// The other end does not let us in.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// Who was called.
        address: String,
        /// What it says.
        reason: String,
    },
    /// The other end answered with another error, or ended the conversation.
    #[error("{address} answered: {reason}")]
    Answer {
        /// Who was called.
        address: String,
        /// What it says.
        reason: String,
    },
    /// The token that says who we are cannot be read.
    #[error("the token cannot be read: {0}")]
    Token(String),
}

impl Error {
    pub(crate) fn of_status(address: &str, status: &tonic::Status) -> Self {
        let address = address.to_owned();
        let reason = format!("{} ({})", status.message(), status.code());
        match status.code() {
            tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => Self::Refused { address, reason },
            _ => Self::Answer { address, reason },
        }
    }

    pub(crate) fn unreachable(address: &str, error: &dyn std::error::Error) -> Self {
        Self::Unreachable { address: address.to_owned(), reason: chain(error) }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = next.source();
    }
    text
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Unreachable { .. } | Self::Answer { .. } => &codes::CONTROL_PLANE_AWAY,
            Self::Refused { .. } | Self::Token(_) => &codes::CONTROL_PLANE_REFUSES,
        }
    }
}

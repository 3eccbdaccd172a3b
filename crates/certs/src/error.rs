//! Why the certificate authority did not do what was asked: one type, each variant with its code of
//! `model::codes::certificates`. No variant holds key material.

use std::io;
use std::path::{Path, PathBuf};

use model::codes::certificates as codes;
use model::codes::{Code, Coded};

/// Shorthand of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with a key, a request, the ledger or the folder of the authority.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder holds no authority.
    #[error("there is no certificate authority in {}", .0.display())]
    Missing(PathBuf),
    /// The folder holds an authority, and a new one was asked for.
    #[error("there is a certificate authority in {} already", .0.display())]
    Exists(PathBuf),
    /// Another process holds the lock.
    #[error("the certificate authority in {} is in use by {}", .dir.display(), holder(*.pid))]
    Locked {
        /// The authority's folder.
        dir: PathBuf,
        /// The other process, when it left its number.
        pid: Option<u32>,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The files and the ledger contradict each other.
    #[error("{0}")]
    Broken(String),
    /// SQLite failed.
    #[error("the ledger failed: {0}")]
    Ledger(rusqlite::Error),
    /// No room for the record.
    #[error("no space is left on the disk of the ledger")]
    LedgerFull,
    /// Written by a newer version.
    #[error("the ledger has schema {found}, and this binary knows schemas up to {known}")]
    LedgerNewer {
        /// Its schema.
        found: i64,
        /// The newest that this binary knows.
        known: i64,
    },
    /// The key cannot be used.
    #[error("{0}")]
    Key(String),
    /// The key is too weak.
    #[error("{0}")]
    WeakKey(String),
    /// The key is encrypted and did not open.
    #[error("{0}")]
    Password(&'static str),
    /// The key is of another certificate.
    #[error("the private key does not belong to the certificate of {0}")]
    KeyMismatch(String),
    /// Others may read the key.
    #[error("{} has mode {mode:04o}: others than its owner may read it", .path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The request is not acceptable.
    #[error("{0}")]
    Request(String),
    /// The signing request is not acceptable.
    #[error("the certificate signing request cannot be used: {0}")]
    Csr(String),
    /// A name constraint forbids a name.
    #[error("the name constraints of {issuer} do not permit {name}")]
    NotPermitted {
        /// The issuer's subject.
        issuer: String,
        /// The name.
        name: String,
    },
    /// The issuer has expired or is about to.
    #[error("{issuer} expired at {at}")]
    IssuerExpired {
        /// The issuer's subject.
        issuer: String,
        /// End of its validity.
        at: String,
    },
    /// The clock is before the authority's beginning.
    #[error("the clock says {now}, but {issuer} is valid from {from} on")]
    Clock {
        /// What the clock says.
        now: String,
        /// The issuer's subject.
        issuer: String,
        /// Start of its validity.
        from: String,
    },
    /// The root's key is not in the folder.
    #[error("this needs the root key, which is not at {}", .0.display())]
    RootOffline(PathBuf),
    /// The ledger does not know it.
    #[error("the ledger has no certificate {0:?}")]
    Unknown(String),
    /// Several certificates have the name.
    #[error("{count} certificates are named {name:?}")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many.
        count: usize,
    },
    /// Revoked earlier.
    #[error("certificate {serial} was revoked at {at}")]
    AlreadyRevoked {
        /// Upper-case hexadecimal.
        serial: String,
        /// When.
        at: String,
    },
    /// The step of the rotation is unsafe.
    #[error("{0}")]
    Rotation(String),
    /// The certificate is no usable authority.
    #[error("{subject} cannot be used as an authority: {reason}")]
    Unusable {
        /// Its subject.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Signing or encoding failed.
    #[error("signing failed: {0}")]
    Signing(String),
    /// Telling a user of the certificate to reload failed.
    #[error("{0}")]
    Reload(String),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    /// A file operation's failure; a full disk under the ledger is told apart elsewhere.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::LedgerFull,
            _ => Self::Ledger(error),
        }
    }
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Signing(error.to_string())
    }
}

impl Coded for Error {
    fn code(&self) -> &'static Code {
        match self {
            Self::Missing(_) => &codes::CA_MISSING,
            Self::Exists(_) => &codes::CA_EXISTS,
            Self::Locked { .. } => &codes::CA_LOCKED,
            Self::File { .. } => &codes::CA_FILE,
            Self::Broken(_) => &codes::CA_BROKEN,
            Self::Ledger(_) => &codes::LEDGER_FAILED,
            Self::LedgerFull => &codes::LEDGER_FULL,
            Self::LedgerNewer { .. } => &codes::LEDGER_NEWER,
            Self::Key(_) => &codes::KEY_UNREADABLE,
            Self::WeakKey(_) => &codes::KEY_WEAK,
            Self::Password(_) => &codes::KEY_PASSWORD,
            Self::KeyMismatch(_) => &codes::KEY_MISMATCH,
            Self::Exposed { .. } => &codes::KEY_EXPOSED,
            Self::Request(_) => &codes::REQUEST_REFUSED,
            Self::Csr(_) => &codes::CSR_INVALID,
            Self::NotPermitted { .. } => &codes::NAME_NOT_PERMITTED,
            Self::IssuerExpired { .. } => &codes::ISSUER_EXPIRED,
            Self::Clock { .. } => &codes::CLOCK_WRONG,
            Self::RootOffline(_) => &codes::ROOT_OFFLINE,
            Self::Unknown(_) => &codes::CERTIFICATE_UNKNOWN,
            Self::Ambiguous { .. } => &codes::AMBIGUOUS_NAME,
            Self::AlreadyRevoked { .. } => &codes::ALREADY_REVOKED,
            Self::Rotation(_) => &codes::ROTATION_REFUSED,
            Self::Unusable { .. } => &codes::AUTHORITY_UNUSABLE,
            Self::Signing(_) => &codes::SIGNING_FAILED,
            Self::Reload(_) => &codes::RELOAD_FAILED,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            Self::Exposed { path, .. } => Some(format!("close it with: chmod 600 {}", path.display())),
            Self::Locked { pid: Some(pid), .. } => {
                Some(format!("wait until process {pid} is done (see it with: ps {pid}), then try again"))
            }
            _ => None,
        }
    }
}

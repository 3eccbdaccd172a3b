//! A subject of access control: user, group or service account.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::rbac::v1::Subject as BindingSubject;

/// Annotation of a managed Secret: who may read it, as in `group:operators, sa:backup/agent`.
pub const READERS_ANNOTATION: &str = "handfast.dev/readers";

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Who asks the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user by name.
    User(String),
    /// Everybody in a group.
    Group(String),
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Subject {
    /// A subject as a binding of this namespace names it.
    pub fn of_binding(subject: &BindingSubject, namespace: Option<&str>) -> Option<Self> {
        let name = subject.name.clone();
        match subject.kind.as_str() {
            // A binding may name a service account by its user name; it is the same subject.
            "User" => Some(Self::of_user(&name)),
            "Group" => Some(Self::Group(name)),
            "ServiceAccount" => {
                let namespace = subject.namespace.as_deref().or(namespace)?.to_owned();
                Some(Self::ServiceAccount { namespace, name })
            }
            _ => None,
        }
    }

    fn of_user(name: &str) -> Self {
        match name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':')) {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() }
            }
            _ => Self::User(name.to_owned()),
        }
    }

    /// Name of the user in a SubjectAccessReview.
    pub fn user(&self) -> Option<String> {
        match self {
            Self::User(name) => Some(name.clone()),
            Self::Group(_) => None,
            Self::ServiceAccount { namespace, name } => Some(format!("{SERVICE_ACCOUNT}{namespace}:{name}")),
        }
    }

    /// The groups that the API server puts this subject in, whatever else its credentials say.
    pub fn groups(&self) -> Vec<String> {
        match self {
            Self::User(name) if name == "system:anonymous" => vec!["system:unauthenticated".to_owned()],
            Self::User(_) => vec!["system:authenticated".to_owned()],
            Self::Group(name) => vec![name.clone()],
            Self::ServiceAccount { namespace, .. } => vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::ServiceAccount { namespace, name } => write!(f, "sa:{namespace}/{name}"),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no subject; write user:NAME, group:NAME or sa:NAMESPACE/NAME");
        let text = text.trim();
        if text.starts_with(SERVICE_ACCOUNT) {
            return match Self::of_user(text) {
                Self::User(_) => Err(wrong()),
                account => Ok(account),
            };
        }
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        match (kind, name.split_once('/')) {
            (_, _) if name.is_empty() => Err(wrong()),
            ("user", _) => Ok(Self::of_user(name)),
            ("group", _) => Ok(Self::Group(name.to_owned())),
            ("sa", Some((namespace, name))) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

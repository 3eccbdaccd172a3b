//! The kind `Certificate` of `handfast.dev/v1`: what a person wants, and what the controller says of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{LONGEST_OBJECT_NAME, OBJECT_NAME};

/// A certificate that is kept in a Secret of its namespace: issued, renewed before it expires, with a new key
/// each time. Its names come from the Services and the service account of its own namespace; others have to be
/// allowed by the operator, in an annotation of the namespace.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "handfast.dev",
    version = "v1",
    kind = "Certificate",
    plural = "certificates",
    shortname = "hfcert",
    namespaced,
    status = "CertificateStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Secret","type":"string","jsonPath":".spec.secretName"}"#,
    printcolumn = r#"{"name":"Expires","type":"string","jsonPath":".status.notAfter"}"#,
    printcolumn = r#"{"name":"Why","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CertificateSpec {
    /// Name of the Secret, of type kubernetes.io/tls, in the same namespace.
    #[schemars(length(max = LONGEST_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub secret_name: String,
    /// What it is for.
    #[serde(default)]
    pub usage: CertificateUsage,
    /// Service account whose SPIFFE ID it carries. Without it the certificate has DNS names only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Services of this namespace whose DNS names it carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Whether the cluster addresses of those Services are in it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_ips: bool,
    /// Further DNS names. The namespace's annotation handfast.dev/allowed-dns-names must allow each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Kind of the key: p256 (default), p384, p521, ed25519, rsa2048, rsa3072, rsa4096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Lifetime, as in 24h or 90d (default 90d). The cluster's operator limits it, to between 1h and 365d where nothing
    /// else was said. Never longer than the issuer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
    /// Whether `tls-combined.pem` is in the Secret too: certificates, then the key, in one file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub combined_pem: bool,
    /// Further forms of the pair in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystores: Option<Keystores>,
    /// Workloads that read the files only at their start. Those of them that have the annotation
    /// handfast.dev/reload: restart are restarted, pod by pod, when the Secret has changed.
    #[schemars(length(max = 20))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<Restarted>,
}

/// A workload that a Certificate names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Restarted {
    /// What it is.
    pub kind: RestartedKind,
    /// Its name, in the Certificate's namespace.
    #[schemars(length(max = LONGEST_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// What can be restarted pod by pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RestartedKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

impl RestartedKind {
    /// The kind of this name.
    pub fn of(kind: &str) -> Option<Self> {
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet].into_iter().find(|own| own.kind() == kind)
    }

    /// Its name.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// Its name in URLs and rights.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificateUsage {
    /// Servers only (extended key usage serverAuth).
    Server,
    /// Clients only (clientAuth).
    Client,
    /// Both.
    #[default]
    Both,
}

/// Further forms of the pair: `keystore.p12`, `truststore.p12`, `keystore.jks`, `truststore.jks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keystores {
    /// PKCS#12.
    #[serde(default)]
    pub pkcs12: bool,
    /// Java's JKS.
    #[serde(default)]
    pub jks: bool,
    /// Secret of this namespace with the password, in its key `password`.
    #[schemars(length(max = LONGEST_OBJECT_NAME), regex(pattern = OBJECT_NAME))]
    pub password_secret: String,
}

/// What the controller says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Ready: the Secret holds a valid pair with the wanted names. Its message is the whole cause in one line.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Serial number of the certificate in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Start of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// End of its validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// When it will be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Time>,
    /// The authority that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// How many certificates were issued for it so far.
    #[serde(default)]
    pub revision: i64,
    /// Failures in a row since the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<i64>,
}

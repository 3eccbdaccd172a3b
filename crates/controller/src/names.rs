//! The names that users, manifests and the controller share. They are a contract: changing one breaks what is
//! deployed.

/// API group of our own kinds, and prefix of our labels and annotations.
pub const GROUP: &str = "handfast.dev";

/// How the API server names objects (RFC 1123: labels, with dots between them), for the schema of our kind.
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The longest such name.
pub const LONGEST_OBJECT_NAME: usize = 253;

/// Whether it matches [`OBJECT_NAME`].
pub fn is_object_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= LONGEST_OBJECT_NAME && name.split('.').all(label)
}

/// Namespace of the controller.
pub const SYSTEM_NAMESPACE: &str = "handfast-system";
/// Name of the controller's Deployment, ServiceAccount, Roles and Lease, and its field manager.
pub const CONTROLLER: &str = "handfast-controller";
/// Secret in [`SYSTEM_NAMESPACE`] that holds the authority: certificates, keys, and the state of a rotation.
pub const AUTHORITY_SECRET: &str = "handfast-authority";
/// Annotation of [`AUTHORITY_SECRET`] that permits, once, a new authority in a cluster that has had another one.
pub const NEW_AUTHORITY_ANNOTATION: &str = "handfast.dev/new-authority";
/// ConfigMap with the trust bundle (key `ca.crt`) and the revocation lists (key `crl.pem`) in every selected namespace.
pub const TRUST_CONFIG_MAP: &str = "handfast-trust";
/// ConfigMap in [`SYSTEM_NAMESPACE`] with the revocation lists, one key for each authority (`NAME.crl`).
pub const REVOCATION_CONFIG_MAP: &str = "handfast-revocation";

/// Annotation of [`REVOCATION_CONFIG_MAP`]: the mark of the authority's last step that is in the audit log.
pub const RECORDED_ANNOTATION: &str = "handfast.dev/recorded";

/// Signer of CertificateSigningRequests and PodCertificateRequests.
pub const SIGNER: &str = "handfast.dev/workload";

/// Label on all that is managed; its value is `true`.
pub const MANAGED_LABEL: &str = "handfast.dev/managed";
/// Label of a Namespace that wants the trust bundle without having a Certificate; its value is `enabled`.
pub const TRUST_LABEL: &str = "handfast.dev/trust";
/// Annotation of a Namespace, written by the operator: DNS names, by comma, exact or `*.suffix`, that
/// Certificates of this namespace may hold beside the names of its own Services.
pub const ALLOWED_DNS_ANNOTATION: &str = "handfast.dev/allowed-dns-names";

/// Annotation of a workload: names of the Services or workloads that it calls, by comma. Whoever has it is a client.
pub const CALLS_ANNOTATION: &str = "handfast.dev/calls";
/// Annotation that `kube wire` puts on a pod template: `server`, `client` or `server,client`.
pub const WIRED_ANNOTATION: &str = "handfast.dev/wired";
/// Annotation of a workload whose application cannot do TLS: `LISTEN:PORT` for each port that the sidecar ends mutual
/// TLS for, `calls` for the Services that the workload calls, by comma.
pub const SIDECAR_ANNOTATION: &str = "handfast.dev/sidecar";
/// Name of the sidecar's container.
pub const SIDECAR: &str = "handfast";
/// Where the sidecar says that it is ready.
pub const SIDECAR_READY_PORT: u16 = 15021;
/// The image of this version.
pub const IMAGE: &str = concat!("handfast.dev/handfast:", env!("CARGO_PKG_VERSION"));

/// Annotation of a workload: how it takes renewed files. `restart` asks the controller for a rolling restart; the other
/// values tell people, and `kube wire`, what happens inside of the pod: `watch`, `signal:PROCESS`, `hook:URL`.
pub const RELOAD_ANNOTATION: &str = "handfast.dev/reload";
/// The value of [`RELOAD_ANNOTATION`] that the controller acts on.
pub const RELOAD_BY_RESTART: &str = "restart";
/// Annotation of a workload, written by the controller: for which state of which Certificates its pods were started.
pub const STARTED_FOR_ANNOTATION: &str = "handfast.dev/started-for";
/// Annotation of a pod template, written by the controller: a new value is what makes the rollout.
pub const RESTARTED_AT_ANNOTATION: &str = "handfast.dev/restarted-at";
/// Name of the sidecar that `kube wire` adds for a signal or a hook.
pub const RELOAD_CONTAINER: &str = "handfast-reload";

/// Label of a Namespace whose pods are in the mesh, with the value [`MESH_ENABLED`] (each pod has a proxy beside it) or
/// [`MESH_BY_NODE`] (the node's proxy carries them); label or annotation of a pod of such a namespace that is not, with
/// the value [`MESH_DISABLED`].
pub const MESH_LABEL: &str = "handfast.dev/mesh";
/// See [`MESH_LABEL`].
pub const MESH_ENABLED: &str = "enabled";
/// See [`MESH_LABEL`].
pub const MESH_BY_NODE: &str = "node";
/// See [`MESH_LABEL`].
pub const MESH_DISABLED: &str = "disabled";
/// Annotation of a pod or a Namespace: how securely it calls others, `strict`, `permissive` or `disabled`.
pub const OUTBOUND_MODE_ANNOTATION: &str = "handfast.dev/outbound-mode";
/// Annotation of a pod or a Namespace: the same for some ports of those that are called, as in
/// `443=permissive,5432=strict`.
pub const OUTBOUND_MODES_ANNOTATION: &str = "handfast.dev/outbound-modes";

/// Name of the node's proxy: its namespace, DaemonSet, ServiceAccount and Roles. The namespace is its own because it has
/// rights that [`SYSTEM_NAMESPACE`] forbids.
pub const NODE: &str = "handfast-node";
/// Namespaces whose pods no proxy carries: the mesh and the cluster must be able to start.
pub const NEVER_IN_MESH: [&str; 3] = [SYSTEM_NAMESPACE, NODE, "kube-system"];
/// Name of the mesh's control plane: its Deployment, Service, ServiceAccount, Roles and webhook.
pub const MESH: &str = "handfast-mesh";
/// Name of the container that carries a pod's connections.
pub const MESH_PROXY: &str = "handfast-proxy";
/// Name of the container that has the pod's connections redirected to it.
pub const MESH_REDIRECT: &str = "handfast-redirect";
/// Volume with the proxy's token and the trusted roots, and where it is mounted.
pub const MESH_VOLUME: &str = "handfast-mesh";
/// See [`MESH_VOLUME`].
pub const MESH_MOUNT: &str = "/var/run/handfast";
/// The user of the proxies, and the mark of their packets: both are never redirected.
pub const MESH_USER: u32 = 1337;
/// Annotation of a pod: ports that it is called on past its proxy, by comma.
pub const SKIP_INBOUND_PORTS: &str = "handfast.dev/skip-inbound-ports";
/// Annotation of a pod: ports that it calls past its proxy, by comma.
pub const SKIP_OUTBOUND_PORTS: &str = "handfast.dev/skip-outbound-ports";
/// Annotation of a pod: networks that it calls past its proxy, as in `10.1.0.0/16,fd00::/8`.
pub const SKIP_OUTBOUND_SUBNETS: &str = "handfast.dev/skip-outbound-subnets";
/// Annotation of a pod: ports whose bytes are never looked into, by comma. None are, at present.
pub const OPAQUE_PORTS: &str = "handfast.dev/opaque-ports";
/// Annotation of a pod whose application wants its identity itself: `enabled` gives its containers the socket of the
/// SPIFFE Workload API.
pub const WORKLOAD_API_ANNOTATION: &str = "handfast.dev/workload-api";
/// Volume with that socket, and where it is mounted.
pub const WORKLOAD_API_VOLUME: &str = "handfast-workload-api";
/// See [`WORKLOAD_API_VOLUME`].
pub const WORKLOAD_API_MOUNT: &str = "/run/handfast/workload-api";
/// The socket.
pub const WORKLOAD_API_SOCKET: &str = "/run/handfast/workload-api/api.sock";
/// Where libraries of SPIFFE look for its address.
pub const WORKLOAD_API_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Annotation of a pod, written at admission: the version that was injected.
pub const INJECTED_ANNOTATION: &str = "handfast.dev/injected";

/// Annotations on a managed Secret.
pub mod secret {
    /// Name of the Certificate that it belongs to.
    pub const CERTIFICATE: &str = "handfast.dev/certificate";
    /// Serial number, lower-case hexadecimal without colons.
    pub const SERIAL: &str = "handfast.dev/serial";
    /// End of validity, RFC 3339 in UTC.
    pub const NOT_AFTER: &str = "handfast.dev/not-after";
    /// When it will be renewed, RFC 3339 in UTC.
    pub const RENEW_AT: &str = "handfast.dev/renew-at";
    /// The authority that signed it, as in `intermediate-1`.
    pub const ISSUER: &str = "handfast.dev/issuer";
    /// `server`, `client` or `both`.
    pub const USAGE: &str = "handfast.dev/usage";
    /// The lifetime that was asked for, in seconds; the certificate's own is shorter where its issuer ends earlier.
    pub const LIFETIME: &str = "handfast.dev/lifetime";
    /// How many certificates were issued into it so far.
    pub const REVISION: &str = "handfast.dev/revision";
}

/// Where `kube wire` mounts a workload's server Secret; files are `tls.crt`, `tls.key`, `ca.crt`.
pub const SERVER_MOUNT: &str = "/etc/handfast/server";
/// Where `kube wire` mounts a workload's client Secret.
pub const CLIENT_MOUNT: &str = "/etc/handfast/client";
/// Where `kube wire` mounts the revocation lists of [`TRUST_CONFIG_MAP`] for a sidecar; the file is `crl.pem`.
pub const LISTS_MOUNT: &str = "/etc/handfast/lists";
/// See [`SERVER_VOLUME`].
pub const LISTS_VOLUME: &str = "handfast-lists";
/// Names of the volumes that `kube wire` adds.
pub const SERVER_VOLUME: &str = "handfast-server";
/// See [`SERVER_VOLUME`].
pub const CLIENT_VOLUME: &str = "handfast-client";
/// Group that may read the mounted Secrets in pods that do not run as root and name no group themselves.
pub const FILES_GROUP: i64 = 65532;
/// Environment variables that `kube wire` sets: name, mount, file.
pub const ENVIRONMENT: [(&str, &str, &str); 6] = [
    ("TLS_SERVER_CERT_FILE", SERVER_MOUNT, "tls.crt"),
    ("TLS_SERVER_KEY_FILE", SERVER_MOUNT, "tls.key"),
    ("TLS_SERVER_CA_FILE", SERVER_MOUNT, "ca.crt"),
    ("TLS_CLIENT_CERT_FILE", CLIENT_MOUNT, "tls.crt"),
    ("TLS_CLIENT_KEY_FILE", CLIENT_MOUNT, "tls.key"),
    ("TLS_CLIENT_CA_FILE", CLIENT_MOUNT, "ca.crt"),
];

/// Name of the server Secret and its Certificate of a workload; `server-tls-secret` in the simplest use.
pub fn server_secret(workload: &str) -> String {
    format!("{workload}-server-tls")
}

/// Name of the client Secret and its Certificate of a workload; `client-tls-secret` in the simplest use.
pub fn client_secret(workload: &str) -> String {
    format!("{workload}-client-tls")
}

/// Name of the server Secret and its Certificate in the simplest use: one server and one client.
pub const SIMPLE_SERVER_SECRET: &str = "server-tls-secret";
/// See [`SIMPLE_SERVER_SECRET`].
pub const SIMPLE_CLIENT_SECRET: &str = "client-tls-secret";

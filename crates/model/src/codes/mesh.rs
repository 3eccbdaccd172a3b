//! Codes of the mesh (HF8xxx): connections between workloads that were refused, and what is wrong with its objects.

super::table! {
    PLAIN_TEXT = "HF8001", "plain_text",
        "Plain text arrived where the mesh asks for mutual TLS",
        "the caller is not in the mesh, or calls around its proxy",
        "bring the caller into the mesh, or set the mode of this port to permissive for the time being";
    POLICY_UNKNOWN = "HF8002", "mesh_policy_unknown",
        "The workload lists a policy that is not known",
        "the policy was deleted, or has not arrived yet; what is unknown denies",
        "see which is missing: handfast mesh status";
    DENIED = "HF8003", "denied_by_policy",
        "A policy denies this caller",
        "an AuthorizationPolicy with action DENY matches it",
        "see the rule: handfast mesh explain FROM TO";
    NOT_ALLOWED = "HF8004", "not_allowed_by_policy",
        "No policy allows this caller",
        "policies with action ALLOW apply to the workload, and none of their rules matches",
        "see what was considered: handfast mesh explain FROM TO; add a rule for the caller's identity";
    WOULD_BE_PLAIN = "HF8005", "would_be_plain",
        "The call could only be made in plain text, and the caller's mode is strict",
        "the destination is not in the mesh, or has no identity there",
        "bring the destination into the mesh, or set the caller's outbound mode for this port to permissive";
    NO_PORT = "HF8006", "no_such_port",
        "The Service has no such port",
        "the application calls another port than the Service has",
        "compare with: kubectl get service NAME";
    NO_ENDPOINT = "HF8007", "service_without_endpoint",
        "Nobody is ready behind the Service",
        "its pods are not ready, or its selector matches none",
        "see: kubectl get pods, kubectl describe service NAME";
    NO_IDENTITY = "HF8008", "no_identity",
        "A workload has no usable identity",
        "its namespace or service account has a name that is no part of a SPIFFE ID",
        "give it a service account whose name has letters, digits, dots and hyphens only";
    NAME_UNKNOWN = "HF8009", "name_unknown",
        "No Service has this name",
        "a misspelt name, or a Service of another namespace that was called by its short name",
        "use the full name: SERVICE.NAMESPACE.svc.cluster.local";
    PEER_UNREACHABLE = "HF8010", "peer_unreachable",
        "The destination's proxy cannot be reached",
        "it is not running, or a network policy keeps port 15008 closed",
        "see the first layer that stops the call: handfast mesh explain FROM TO";
    PEER_REFUSED = "HF8011", "peer_refused",
        "The destination's proxy refused the call",
        "its policy does not allow this caller (401)",
        "the reason is in the log of the destination's proxy";
    PEER_IDENTITY = "HF8012", "peer_identity",
        "The destination proved another identity than expected",
        "its address was given to another workload a moment ago, or somebody pretends",
        "if it stays so, compare: handfast mesh explain FROM TO";
    APPLICATION_UNREACHABLE = "HF8013", "application_unreachable",
        "The application does not take the connection",
        "it is not listening on this port or address yet, or any more",
        "look at the application; it must listen on its pod's address or on all";
    TUNNEL_INVALID = "HF8014", "tunnel_invalid",
        "A tunnel request is malformed",
        "it is no CONNECT, or its authority is no address and port of this workload",
        "the caller is no HBONE client; nothing was sent to the application";
    LOOP = "HF8015", "loop",
        "A connection came back to the proxy that made it",
        "a proxy's own port was called as a destination",
        "call the application's port";
    PROXY_REQUEST_INVALID = "HF8016", "proxy_request_invalid",
        "A request to the explicit proxy is malformed",
        "the client speaks neither SOCKS5 nor HTTP on this port, or asks for something else than a connection",
        "set ALL_PROXY or HTTP_PROXY as the environment of the workload has them";
    REVOKED_BY_CHANGE = "HF8017", "no_longer_allowed",
        "A connection was closed because it is no longer allowed",
        "a policy changed while it was open",
        "see what applies now: handfast mesh explain FROM TO";
    TOO_MANY = "HF8018", "too_many_tunnels",
        "A workload has as many connections as it may have",
        "a caller opens them without end, or the application does not finish any",
        "see who calls in the log; the limit is for each workload";
    CONTROL_PLANE_AWAY = "HF8020", "control_plane_away",
        "The control plane cannot be reached, or does not answer",
        "it is not running, a network policy keeps its port closed, or its certificate is not the expected one",
        "see whether it runs: handfast mesh status; the proxy goes on with what it knows, and tries again by itself";
    CONTROL_PLANE_REFUSES = "HF8021", "control_plane_refuses",
        "The control plane does not let this proxy in",
        "its token is missing, has expired or is for another audience",
        "look at the token's volume in the pod: its audience must be the control plane's";
    RESOURCE_REFUSED = "HF8022", "resource_refused",
        "A proxy does not understand what the control plane said of a workload, service or policy",
        "the control plane is newer than the proxy, or what it says makes no sense",
        "bring both to the same version; until then a policy that is not understood denies, and the rest stays as it was";
    MESH_OBJECT = "HF8030", "mesh_object_not_understood",
        "An AuthorizationPolicy or a PeerAuthentication cannot be understood",
        "a field is misspelt, has a wrong value or stands at the wrong level",
        "correct the field that is named; until then, the workloads that it would apply to refuse";
    POLICY_NEEDS_HTTP = "HF8031", "policy_beyond_connections",
        "An AuthorizationPolicy asks for what is not known of a connection",
        "it names hosts, methods, paths, tokens or the like, and the mesh decides about connections, not about requests",
        "say it with principals, namespaces, service accounts, addresses and ports; until then, the workloads that it would apply to refuse";
    PEER_AUTHENTICATION_UNUSED = "HF8032", "peer_authentication_unused",
        "A PeerAuthentication is not used, because an older one says the same thing otherwise",
        "two of them apply to the same workloads at the same level",
        "delete one of the two, or put both into one";
    MESH_ANNOTATION = "HF8033", "mesh_annotation",
        "A label or an annotation of the mesh has a wrong value",
        "it is misspelt, or stands at a namespace that is never in the mesh",
        "write handfast.dev/outbound-mode: strict, handfast.dev/outbound-modes: 443=permissive, or handfast.dev/mesh: enabled (or node)";
    INJECTION_REFUSED = "HF8034", "injection_refused",
        "A pod cannot be brought into the mesh as it is",
        "something in its manifest contradicts having a proxy beside it",
        "correct the field that is named, or leave the pod out: annotation handfast.dev/mesh: disabled";
    REDIRECTION = "HF8035", "redirection_failed",
        "Connections cannot be redirected to the proxy",
        "the right to change the rules of this network (CAP_NET_ADMIN) is missing, or the kernel has no nftables",
        "in a pod: look whether its namespace allows the capability NET_ADMIN (Pod Security: privileged), or use node mode";
    NO_CERTIFICATE = "HF8036", "workload_without_certificate",
        "The pod's proxy gets no certificate from the control plane",
        "the control plane is away, has no authority yet, or does not accept the pod's token",
        "its reason is in the message; what was issued before is good until it ends: handfast mesh check";
    PROXY_KILLED = "HF8037", "proxy_killed",
        "A proxy's process was killed, and is started again",
        "somebody ended it, it needed more memory than it may have, or it has a fault",
        "its connections are lost, new ones are served; if it comes again: look at the container's memory limit and at the lines before this one";
    NOT_A_PROXY = "HF8039", "not_a_proxy",
        "Who asks the control plane for the state of the mesh is no proxy of it",
        "a pod without a sidecar, or of another service account than the node's proxy, showed its own token",
        "label its namespace handfast.dev/mesh=enabled and make the pod anew; name foreign proxies by --node-accounts";
    LOCAL_NO_COMMAND = "HF8040", "local_no_command",
        "A container has no command",
        "what its image would start is not known here: no container runtime is involved on one machine",
        "give the container a `command:` that can be started on this machine";
    LOCAL_REFERENCE = "HF8041", "local_reference",
        "Something is referred to that is not there",
        "a ServiceAccount, ConfigMap, Secret or key is misspelt, or stands in a file or namespace that was not given",
        "add it to the folder, or correct the name; a reference to a ConfigMap or Secret may be `optional: true`";
    LOCAL_NOT_DONE = "HF8042", "local_not_done",
        "A part of the manifests has no effect on one machine",
        "it is a kind or a field that takes a container runtime or a cluster",
        "leave it as it is, if the applications do without it here";
    LOCAL_UNSUPPORTED = "HF8043", "local_unsupported",
        "A part of the manifests cannot be carried out on one machine",
        "the processes of one machine do not have what it asks for",
        "give a plain value in its place";
    LOCAL_NETWORKS = "HF8044", "local_networks",
        "Pods cannot have networks of their own on this machine",
        "network namespaces, mounts or packet rules may not be made: not root, or root of a container without these rights",
        "run it as root (CAP_SYS_ADMIN and CAP_NET_ADMIN), or without: --network loopback";
    NOTHING_TO_SEE = "HF8050", "mesh_nothing_to_see",
        "There is nothing of the mesh to look at",
        "no pod has a proxy there, or none of them can be asked",
        "see what is there: handfast mesh status; port-forwarding needs the right to create pods/portforward";
    NETWORK_POLICY_BLOCKS = "HF8051", "network_policy_blocks",
        "A NetworkPolicy stops the connection",
        "policies select the pod, and none of their rules lets this pass; tunnels of the mesh arrive at port 15008",
        "add a rule for TCP port 15008 from the pods that call, beside that for the application's port";
    NOT_INJECTED = "HF8052", "pod_without_proxy",
        "A pod of the mesh has no proxy",
        "it was made before its namespace's label",
        "restart it: kubectl rollout restart its Deployment";
    WEBHOOK_WRONG = "HF8053", "mesh_webhook_wrong",
        "The admission webhook is not as it has to be",
        "it was changed or deleted by hand, or the control plane has not taken it up yet",
        "apply it again: handfast mesh install --apply";
    NOT_REDIRECTED = "HF8054", "pod_not_redirected",
        "A pod's connections are not redirected to its proxy",
        "the rules were taken away from its network, or its kernel has none",
        "restart the pod; if it stays so, look at the log of its container handfast-redirect";
    CERTIFICATE_ENDS = "HF8055", "workload_certificate_ends",
        "A workload's certificate ends soon, or has ended",
        "its proxy gets no new one from the control plane",
        "see why: kubectl logs POD -c handfast-proxy";
    CLOCK_DIFFERS = "HF8056", "mesh_clock_differs",
        "A clock differs from the API server's",
        "the node does not keep its time",
        "have the node keep its time (NTP); with a wrong clock, good certificates count as ended";
    TRUST_DIFFERS = "HF8057", "mesh_trust_differs",
        "The trust bundle is not the same everywhere",
        "a rotation is under way, or somebody changed a ConfigMap by hand",
        "wait a minute and look again; if it stays so, see whether the controller runs";
    VERSIONS_DIFFER = "HF8058", "mesh_versions_differ",
        "Versions of Handfast differ",
        "an upgrade is under way, or pods were not restarted after one",
        "bring all to one version: handfast mesh install --apply, then restart the pods";
    CONTROL_PLANE_WRONG = "HF8059", "mesh_control_plane_wrong",
        "The control plane is not as it has to be",
        "it is not installed, not ready, or does not answer",
        "install it: handfast mesh install --apply; or see why: kubectl -n handfast-system logs deploy/handfast-mesh";
    WOULD_BREAK = "HF8060", "mesh_strict_would_break",
        "Connections that were seen would be refused under strict",
        "somebody calls, or is called, in plain text",
        "bring the other side into the mesh first, or keep its port permissive";
    PROXY_SILENT = "HF8061", "mesh_proxy_silent",
        "A proxy cannot be asked, or hears no control plane",
        "it is not running yet, is of another version, or the control plane cannot be reached from there",
        "see its log: kubectl logs POD -c handfast-proxy";
    NODE_POD = "HF8080", "node_pod_not_carried",
        "A pod of this node cannot be taken into the mesh",
        "its network is not found or not open to the node's proxy, or another program listens on its ports 15001, 15006 or 15008",
        "the reason is in the message, and it is tried again every second; leave the pod out: label handfast.dev/mesh: disabled";
    NODE_PLUGIN = "HF8081", "node_plugin_not_installed",
        "The CNI plugin of node mode is not in force on this node",
        "the folder of the CNI has no list of plugins (.conflist), or is not where it was said",
        "name the folders with mesh install --cni-conf-dir and --cni-bin-dir; until then new pods are found by watching, with a moment without protection";
    NODE_AWAY = "HF8082", "node_proxy_away",
        "A pod is not started, because the node's proxy is away and would have to carry it",
        "the pod of handfast-node on this node does not run",
        "kubectl -n handfast-node get pods -o wide; kubelet tries again by itself";
    TRUST_BEHIND = "HF8090", "trust_not_taken_up",
        "A proxy has not taken up whom it is told to trust",
        "it gets no certificate of the authority that issues now; the reason is in the message",
        "a rotation waits for it: see its reason with handfast kube rotate-root, restart or delete its pod, or leave it behind";
}

//! Codes of Kubernetes (HF7xxx): the controller and its installation (HF70xx), and one block for each other part
//! of `handfast kube` after it.

super::table! {
    // HF70xx: the controller, its authority, and `kube install`.
    KUBE_NOT_REACHED = "HF7001", "kube_not_reached",
        "The Kubernetes API server cannot be reached",
        "no kubeconfig, a wrong context, or an API server that is away",
        "try: kubectl get --raw /readyz; choose a cluster with KUBECONFIG or --context";
    KUBE_FORBIDDEN = "HF7002", "kube_forbidden",
        "The API server does not allow this",
        "the user or service account lacks the right",
        "see what is allowed with: kubectl auth can-i --list -n NAMESPACE";
    KUBE_ANSWER = "HF7003", "kube_answer",
        "The API server answered with an error",
        "the object is not valid, or a webhook or quota refused it",
        "see the API server's reason beside this code";
    KUBE_CONFLICT = "HF7004", "kube_conflict",
        "Somebody else changed the object at the same time",
        "two programs, or a program and a person, write the same object",
        "nothing was overwritten; it is tried again by itself";
    AUTHORITY_MISSING = "HF7005", "authority_missing",
        "The authority's Secret handfast-system/handfast-authority is missing or was emptied",
        "handfast is not installed in this cluster, or the Secret was deleted, replaced or emptied",
        "restore the Secret from a backup; for a new cluster: handfast kube install --apply; to give the lost one up for ever: add --new-authority";
    AUTHORITY_BROKEN = "HF7006", "authority_broken",
        "The authority's Secret cannot be used",
        "it was edited by hand, or restored only in part",
        "restore handfast-system/handfast-authority from a backup; nothing is issued until then";
    AUTHORITY_STEP = "HF7007", "authority_step_refused",
        "The authority refuses this step",
        "the step before it is not done, or something live still needs what it would take away",
        "see the reason beside this code";
    AUTHORITY_DOMAIN = "HF7008", "authority_trust_domain",
        "The authority was made for another trust domain",
        "--trust-domain was changed after the first start",
        "start the controller with the authority's trust domain";
    CERTIFICATE_NAME_REFUSED = "HF7010", "certificate_name_refused",
        "The Certificate asks for a name that its namespace may not have",
        "no Service or service account of that name exists there, or the operator has not allowed the DNS name",
        "create the Service or service account; other DNS names: kubectl annotate namespace NAMESPACE handfast.dev/allowed-dns-names=NAME";
    CERTIFICATE_SPEC = "HF7011", "certificate_spec_invalid",
        "The Certificate cannot be understood",
        "its key, lifetime or a name is misspelt, or its lifetime is outside of the operator's limits",
        "see its fields with: kubectl explain certificate.spec";
    SECRET_FOREIGN = "HF7012", "secret_foreign",
        "The Secret belongs to somebody else and is left as it is",
        "it was made by hand or by another program, or for another Certificate",
        "choose another spec.secretName, or delete the Secret if nobody needs it";
    SECRET_FORBIDDEN = "HF7013", "secret_forbidden",
        "The controller has no right to this Secret",
        "the namespace has no Role that names it: the controller may touch named Secrets only",
        "write it with: handfast kube wire, or handfast kube cert";
    STORE_PASSWORD_MISSING = "HF7014", "keystore_password_missing",
        "The password of the keystores is missing",
        "the Secret of spec.keystores.passwordSecret does not exist, or has no key \"password\"",
        "create it with: kubectl create secret generic NAME --from-literal=password=...";
    ISSUER_ENDS = "HF7015", "issuer_ends",
        "The issuing authority ends too soon for a new certificate",
        "it was not rotated in time",
        "rotate it now: handfast kube rotate-root";
    CONTROLLER_CLOCK = "HF7020", "controller_clock",
        "The controller's clock differs from the API server's",
        "the clock of one of the two machines is wrong",
        "set the clocks of the nodes (chrony, systemd-timesyncd); nothing is issued until they agree";
    LEADERSHIP_LOST = "HF7021", "leadership_lost",
        "This controller is not the leader any longer",
        "the API server was away, or this process was paused",
        "nothing: another one takes over, or this one again";
    INSTALL_NOT_READY = "HF7030", "install_not_ready",
        "What was installed is not ready in time",
        "the image cannot be pulled, or no node has room",
        "see why with: kubectl -n handfast-system describe pods";
    OPTION_INVALID = "HF7031", "kube_option_invalid",
        "An option of the controller or its installation cannot be used",
        "it is misspelt",
        "see: handfast kube install --help";

    // HF708x: the signer of CertificateSigningRequests and PodCertificateRequests.
    REQUESTER_NOT_A_POD = "HF7080", "requester_not_a_pod",
        "The request does not come from a pod that lives",
        "a user asked, or a token that is not bound to a pod, or the pod has ended in the meantime",
        "ask from inside of the pod, with the token that is mounted into it (a projected serviceAccountToken)";
    REQUEST_NOT_JUSTIFIED = "HF7081", "request_not_justified",
        "The request asks for more than its pod justifies",
        "it names another service account or Service, or wants to be an authority",
        "leave names and usages out of the request: the pod's own come by themselves";
    REQUEST_UNREADABLE = "HF7082", "request_unreadable",
        "The request cannot be used",
        "it is damaged, is not signed with its own key, or its key is too weak",
        "make it anew, as in: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /";
    REQUEST_NOT_SIGNED = "HF7083", "request_not_signed",
        "The request is justified, and the authority cannot sign it",
        "the constraints of an imported authority forbid one of the names",
        "see the reason beside this code";
    POD_CERTIFICATES_NOT_SERVED = "HF7084", "pod_certificates_not_served",
        "The cluster does not serve PodCertificateRequests",
        "it is older than Kubernetes 1.37, and the feature gate PodCertificateRequest is off",
        "nothing is wrong: pods get certificates in Secrets, or ask with a CertificateSigningRequest";

    // HF7060 to HF7069: how workloads take renewed certificates.
    RESTART_BUDGET = "HF7060", "restart_waits_for_budget",
        "A restart for a renewed certificate waits for a PodDisruptionBudget",
        "the budget allows no disruption now, or fewer than a rollout of this workload takes",
        "see: kubectl get poddisruptionbudgets -n NAMESPACE; the pods serve the old certificate until then";
    RESTART_UNAVAILABLE = "HF7061", "restart_waits_for_pods",
        "A restart for a renewed certificate waits until the workload is fully available",
        "a rollout is under way, or pods are not ready",
        "see: kubectl rollout status KIND/NAME -n NAMESPACE; the pods serve the old certificate until then";
    RESTART_IMPOSSIBLE = "HF7062", "restart_impossible",
        "A workload asks for restarts that its settings do not allow",
        "it is paused, its update strategy is OnDelete, or its kind has no rollouts",
        "use RollingUpdate; or another way: handfast kube wire --reload signal:PROCESS or hook:URL";
    RESTART_FORBIDDEN = "HF7063", "restart_forbidden",
        "The controller has no right to restart this workload",
        "the namespace has no Role that names it: the controller may restart named workloads only",
        "write it with: handfast kube wire -f FILE --reload restart";
    RESTART_STUCK = "HF7064", "restart_stuck",
        "A rolling restart for a renewed certificate does not end",
        "the new pods do not become ready; the old ones go on serving",
        "see: kubectl rollout status KIND/NAME -n NAMESPACE; kubectl describe pods";
    RELOAD_FILES = "HF7065", "reload_files_unread",
        "The watched certificate files cannot be read",
        "the folder is not mounted into this container, or the files are not readable for its user",
        "mount it, and set fsGroup in the pod's securityContext; see: handfast kube wire --reload";
    RELOAD_NOT_TOLD = "HF7066", "reload_not_told",
        "The application could not be told of its renewed certificate",
        "no process has this name, it belongs to another user, or its hook does not answer with 2xx",
        "it is tried again; check shareProcessNamespace, runAsUser and the hook's address";
    RELOAD_USER = "HF7067", "reload_user_unknown",
        "It is not known as which user a signal has to be sent",
        "the image decides who its application runs as, or containers run as several users",
        "set securityContext.runAsUser of the pod; or use another way: --reload restart or hook:URL";
    EDGE_NONE = "HF7600", "kube_test_no_edge",
        "There is no wired client with a server to call",
        "no running pod has a client Secret mounted, or no Service selects a pod with a server Secret",
        "wire them with: handfast kube wire; see what there is with: kubectl get pods,services";
    PROBE_NOT_STARTED = "HF7601", "kube_test_probe_failed",
        "The test could not run inside of the client's pod",
        "the image is not on the node, Pod Security or RBAC refuses ephemeral containers, or the pod has ended",
        "see why with: kubectl describe pod NAME; rights needed: patch pods/ephemeralcontainers, create pods/attach";
    SERVED_OLD = "HF7602", "served_not_in_secret",
        "A pod serves another certificate than the one in its Secret",
        "the application was not reloaded after the renewal, or kubelet has not brought the new files yet (a minute)",
        "reload it as in: handfast kube configure --for APPLICATION; or restart it: kubectl rollout restart";
    MOUNTED_OLD = "HF7603", "mounted_not_in_secret",
        "A pod has other files mounted than those in its Secret",
        "kubelet has not brought the new files yet (a minute), or they are mounted with subPath, which never changes",
        "wait a minute and test again; a subPath mount: handfast kube wire";

    // HF705x: rotating the root, and revocation.
    ROTATE_GUARD = "HF7050", "kube_rotate_guard",
        "The step would be unsafe now",
        "a verifier does not know the new root yet, or something live still shows a certificate of the old one",
        "see the findings: wait for kubelet (a minute), reload or restart what is named, then try again";
    ROTATE_UNSEEN = "HF7051", "kube_rotate_unseen",
        "A pod could not be observed",
        "it has no way to look into it, or nothing outside of its process shows what that process has loaded",
        "restart it: kubectl rollout restart; when you have looked yourself: --accept-unseen NAMESPACE/POD; when every application loads changed files by itself: --applications-reload";
    ROTATE_CHANGED = "HF7052", "kube_rotate_changed",
        "The rotation changed while the pods were being looked at",
        "somebody else took a step at the same time",
        "nothing was changed; look at it with: handfast kube rotate-root status";
    ROTATE_WAITS = "HF7053", "kube_rotate_waits",
        "The rotation waits longer than this command may",
        "kubelet, an application's reload, or the longest life of a certificate takes its time",
        "run it again later, it goes on where it stopped: handfast kube rotate-root run";
    REVOKE_UNKNOWN = "HF7055", "kube_revoke_unknown",
        "There is no certificate to revoke",
        "the Secret is not managed, holds no certificate of this authority, or the serial number is misspelt",
        "see the managed ones with: kubectl get certificates.handfast.dev -A";

    // HF74xx: network policies. HF75xx: who can read the managed keys.
    NETPOL_CLUSTER = "HF7400", "kube_netpol_cluster",
        "The cluster refused or did not answer",
        "the API server cannot be reached, or this user may not do what was asked",
        "see what you may do with: kubectl auth can-i --list";
    NETPOL_EDGE = "HF7401", "kube_netpol_edge",
        "A declared edge leads nowhere",
        "a Service, workload or port is misspelt, or its manifest was not given",
        "write edges as client=web:8443, or annotate the client with handfast.dev/calls: web";
    NETPOL_OBJECT = "HF7402", "kube_netpol_object",
        "A manifest cannot be read",
        "it is not YAML, or a field has the wrong form",
        "mend it; check with: kubectl apply --dry-run=server -f FILE";
    NETPOL_NO_LABELS = "HF7403", "kube_netpol_no_labels",
        "The pods of a workload have no labels",
        "a NetworkPolicy selects pods by their labels only",
        "add one to the pod (template), as in metadata.labels.app: NAME";
    NETPOL_CONFLICT = "HF7404", "kube_netpol_conflict",
        "Another field manager owns a field of the policy",
        "somebody changed the policy by hand or with another tool",
        "look at the diff of --dry-run, then take the fields over with --force-conflicts";
    NETPOL_NOT_ENFORCED = "HF7410", "kube_netpol_not_enforced",
        "This cluster does not enforce NetworkPolicies",
        "its network plugin ignores them, as plain bridge, host-local and flannel do",
        "install a network plugin that enforces them (Calico, Cilium, Antrea, kube-router); until then only mutual TLS protects the pods";
    NETPOL_ALLOWED_BLOCKED = "HF7411", "kube_netpol_allowed_blocked",
        "A declared edge is blocked",
        "its allow rule is not applied, or another policy's author expects a rule on the other end",
        "apply the rules with: handfast kube netpol --apply; see all of them with: kubectl get networkpolicies -A";
    NETPOL_UNDECLARED_OPEN = "HF7412", "kube_netpol_undeclared_open",
        "A pair that nobody declared can connect",
        "default-deny is not applied in one of the namespaces, or another policy allows more than the edges say",
        "apply the rules with: handfast kube netpol --apply; see all of them with: kubectl get networkpolicies -A";
    NETPOL_PROBE = "HF7413", "kube_netpol_probe_not_run",
        "The proof could not be run",
        "the probe pods did not start, could not be asked, or could not even reach what nothing forbids",
        "see the pods' events: kubectl describe pods -l handfast.dev/netpol-test";
    RBAC_CLUSTER = "HF7500", "kube_rbac_cluster",
        "The question who can read the Secrets could not be asked",
        "the API server cannot be reached, or this user may not list bindings or create SubjectAccessReviews",
        "run it as a cluster administrator; see what you may do with: kubectl auth can-i --list";
    RBAC_READS = "HF7501", "kube_rbac_reads_key",
        "A subject can read a private key that it should not",
        "a Role grants get, list, watch or a write on Secrets without resourceNames, or for this very Secret",
        "take the rule or the binding away; or name the subject in the Secret's annotation handfast.dev/readers";
    RBAC_REACHES = "HF7502", "kube_rbac_reaches_key",
        "A subject can get at a private key by a detour",
        "whoever may start or enter pods, act as somebody else or grant rights in a namespace can read its Secrets",
        "take the rule or the binding away, or move the workload to a namespace of its own";
    RBAC_SUBJECT = "HF7503", "kube_rbac_subject",
        "A subject is not understood",
        "it lacks its kind",
        "write user:NAME, group:NAME or sa:NAMESPACE/NAME";
}

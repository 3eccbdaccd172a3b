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
        "The authority's Secret handfast-system/handfast-authority is missing",
        "handfast is not installed in this cluster, or the Secret was deleted",
        "restore the Secret from a backup; for a new cluster: handfast kube install --apply";
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
        "its key, lifetime or a name is misspelt",
        "see its fields with: kubectl explain certificate.spec";
    SECRET_FOREIGN = "HF7012", "secret_foreign",
        "The Secret belongs to somebody else and is left as it is",
        "it was made by hand or by another program, or for another Certificate",
        "choose another spec.secretName, or delete the Secret if nobody needs it";
    SECRET_FORBIDDEN = "HF7013", "secret_forbidden",
        "The controller has no right to this Secret",
        "the namespace has no Role that names it: the controller may touch named Secrets only",
        "write it with: handfast kube wire, or handfast kube rbac";
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
}

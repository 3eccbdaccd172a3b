//! Codes of `handfast kube` and the controller (HF7xxx). HF74xx are network policies, HF75xx access to Secrets.

super::table! {
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

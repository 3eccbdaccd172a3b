//! Codes of Kubernetes manifests: reading, wiring and linting them (HF71xx).

super::table! {
    MANIFEST_SYNTAX = "HF7100", "manifest_syntax",
        "The manifest is not valid YAML",
        "wrong indentation, a missing quote or colon, or a template that was not rendered yet",
        "mend the line shown; a Helm chart is rendered with: helm template CHART";
    MANIFEST_NOT_EDITABLE = "HF7101", "manifest_not_editable",
        "A part of the manifest cannot be edited without changing more than is meant",
        "it is shared by an anchor, comes from a merge key, or is written in a form that has no safe place",
        "write this part out where it is used";
    MANIFEST_TAKEN = "HF7102", "manifest_taken",
        "What would be added is there already, and is something else",
        "a volume, a mount or a variable of this name was written by hand, or by an earlier run with other options",
        "rename or remove it, or run with the same options as before";
    MANIFEST_TWICE = "HF7103", "manifest_twice",
        "Two objects share one name",
        "a file was given twice, or two workloads would share their certificates",
        "rename one of the two";
    MANIFEST_CHECK = "HF7104", "manifest_check_failed",
        "The edited manifest does not say what was meant, and was thrown away",
        "a defect in Handfast, on a form of YAML that it did not expect",
        "report it with the part of the manifest that is named; write this part in plain block style meanwhile";
    MANIFEST_NOTHING = "HF7105", "manifest_nothing",
        "There is no workload in what was given",
        "a wrong file, or kinds that have no pods",
        "give Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs or CronJobs with -f";
    MANIFEST_GROUP = "HF7106", "manifest_group_unsafe",
        "The pod needs a group for its certificates, which would change the owner of its disks",
        "it does not run as root, has persistent volumes and no fsGroup; kubelet gives such volumes to that group",
        "choose with --fs-group GID, or --fs-group none to make the files readable by all users of the pod";
    MANIFEST_EDGE = "HF7107", "manifest_edge",
        "A declared call leads nowhere, or comes from nowhere",
        "the workload or Service is misspelt, or stands in a file that was not given",
        "mend --edge CLIENT=SERVER or the annotation handfast.dev/calls";
    MANIFEST_SHAPE = "HF7108", "manifest_shape",
        "An object of the manifest does not have the form of its kind",
        "a key is missing or stands at the wrong level",
        "compare with: kubectl explain KIND.spec";
    MANIFEST_SIDECAR = "HF7109", "manifest_sidecar",
        "The annotation handfast.dev/sidecar cannot be carried out",
        "a port or a word in it is wrong, or what it needs to know is not among the manifests",
        "write LISTEN:PORT for each port of the application, and `calls` for what it calls; give all manifests at once";
    LINT_SUB_PATH = "HF7110", "manifest_sub_path",
        "A certificate Secret is mounted with subPath",
        "kubelet never updates such a mount: the pod serves the old certificate until it expires",
        "mount the whole Secret at a folder of its own";
    LINT_KEY_IN_ENV = "HF7111", "manifest_key_in_env",
        "A private key is in an environment variable",
        "variables are inherited, dumped and logged, and they never change while the pod runs",
        "mount the Secret and give the application the path";
    LINT_CERTIFICATE_IN_ENV = "HF7112", "manifest_certificate_in_env",
        "A certificate is in an environment variable",
        "it never changes while the pod runs, so a renewal does not arrive",
        "mount the Secret and give the application the path";
    LINT_PAIR_APART = "HF7113", "manifest_pair_apart",
        "Certificate and private key come from different Secrets or mounts",
        "they are not replaced together, so after a renewal they do not match for a while",
        "keep both in one Secret of type kubernetes.io/tls and mount it once";
    LINT_KEY_MODE = "HF7114", "manifest_key_mode",
        "A private key is readable for every user of the pod",
        "the volume has no defaultMode (0644 then), or one that lets others read",
        "set defaultMode: 0400, with an fsGroup 0440, on the volume";
    LINT_HOST_PATH = "HF7115", "manifest_host_path",
        "Certificates are taken from a folder of the node",
        "each pod of the node can then read what any pod of it is given, and the node's certificates too",
        "use a Secret or a projected volume";
    LINT_SERVICE_NO_PODS = "HF7116", "manifest_service_no_pods",
        "A Service selects no pod of what was given",
        "its selector does not match the labels of a pod template, or the pods are in another file",
        "compare the selector with the labels of the pod template; give all files at once";
    LINT_SERVICE_NO_SELECTOR = "HF7117", "manifest_service_no_selector",
        "A Service has no selector",
        "its endpoints are written by something else, so no workload here is known to be behind it",
        "name the certificate by hand: handfast kube cert NAME --service SERVICE";
    LINT_TOKEN = "HF7118", "manifest_token_mounted",
        "The pod is given a token for the API server that it may not need",
        "automountServiceAccountToken is on by default; whoever takes over the pod has the token",
        "set automountServiceAccountToken: false unless the application talks to the API server";
    LINT_DEFAULT_ACCOUNT = "HF7119", "manifest_default_account",
        "A workload uses the service account `default`",
        "all workloads of the namespace without an account of their own share this identity, so no policy can tell them apart",
        "give it a ServiceAccount of its own, and set serviceAccountName";
    LINT_USER_UNKNOWN = "HF7120", "manifest_user_unknown",
        "The manifest does not say as which user the pod runs",
        "the image decides; if that is not root, files with mode 0400 are not readable for it",
        "set securityContext.runAsNonRoot: true, or give --fs-group 65532";
    LINT_SIDECAR_PLAIN = "HF7121", "manifest_sidecar_plain_port",
        "The application behind a sidecar may be reached past it",
        "its plain port is open at the pod's address, where whoever reaches the pod writes x-forwarded-client-cert himself",
        "let the application listen on 127.0.0.1, or close the port with: handfast kube netpol -f FILE";
    WIRE_IMMUTABLE = "HF7130", "wire_immutable",
        "The object exists, and Kubernetes does not let this part of it change",
        "the volumes of a Pod and the template of a Job are fixed when it is made",
        "make it anew with --replace, which deletes it first";
    WIRE_NOT_READY = "HF7131", "wire_not_ready",
        "The certificates were not issued in time",
        "the controller is not installed or not running, or it refused a name",
        "see why with: kubectl get certificates.handfast.dev; install with: handfast kube install --apply";
    WIRE_REFUSED = "HF7132", "wire_refused",
        "The API server refused an object",
        "it is not valid, a right is missing, or the kind is not installed",
        "see the reason shown; the kind Certificate comes with: handfast kube install --apply";
    WIRE_CLUSTER = "HF7133", "wire_cluster",
        "The cluster cannot be reached",
        "there is no kubeconfig, or its server or credentials are wrong",
        "check with: kubectl cluster-info; choose with KUBECONFIG";
    WIRE_NOT_RUNNING = "HF7134", "wire_not_running",
        "The pods did not come up in time",
        "an image is not to be had, a container ends at once or is not ready, or there is no room for it",
        "see why with: kubectl describe pods, kubectl logs; wait longer with --wait SECONDS";
    SECRET_PAIR = "HF7140", "secret_pair",
        "The certificate and the private key are no usable pair",
        "they belong to different certificates, or the certificate has expired",
        "give the pair that belongs together: handfast cert lint FILE --key FILE";
    SECRET_TAKEN = "HF7141", "secret_taken",
        "The Secret is somebody else's, and is left as it is",
        "the controller keeps it for a Certificate, or another program or person wrote its data",
        "choose another name; delete the Certificate if it is not needed; what another one wrote: --force-conflicts";
}

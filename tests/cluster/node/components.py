"""The command line and the configuration of each component: small, quiet, and as near to an ordinary cluster as
that allows. What is switched off would only act on the machine around it, or cost time that tests wait for."""

import json
from pathlib import Path

from node.place import ADDRESS, DNS_SERVICE, DOMAIN, NODE, PODS, SERVICES

GATES = ["PodCertificateRequest", "ClusterTrustBundle", "ClusterTrustBundleProjection"]
CONTAINERD = "/run/containerd/containerd.sock"
PAUSE, BUSYBOX = "handfast.test/pause:1", "handfast.test/busybox:1"


def configure(place, snapshotter):
    """Writes the files that the command lines below name."""
    place.config.mkdir()
    (place.config / "cni").mkdir()
    # Plugins that a test adds are this cluster's own.
    (place.config / "cni-bin").mkdir()
    for plugin in Path("/usr/lib/cni").iterdir():
        (place.config / "cni-bin" / plugin.name).symlink_to(plugin)
    (place.config / "cni" / "10-bridge.conflist").write_text(json.dumps(NETWORK))
    (place.config / "containerd.toml").write_text(_containerd(place, snapshotter))
    (place.config / "kubelet.json").write_text(json.dumps(_kubelet(place)))
    (place.config / "proxy.json").write_text(json.dumps(_proxy(place)))
    (place.config / "dns.json").write_text(json.dumps(dns(place)))


def command(place, component, plain=False):
    """The whole command line of a component; plain is an API server without what is behind feature gates."""
    if component == "containerd":
        return ["containerd", "--config", str(place.config / "containerd.toml")]
    flags = {
        "etcd": _etcd,
        "kube-apiserver": _apiserver,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "kubelet": lambda place: [
            f"--config={place.config}/kubelet.json", f"--kubeconfig={place.pki}/kubelet.kubeconfig",
            f"--node-ip={ADDRESS}", f"--hostname-override={NODE}",
        ],
        "kube-proxy": lambda place: [f"--config={place.config}/proxy.json"],
    }[component](place)
    if plain:
        flags = [flag for flag in flags if not flag.startswith(("--feature-gates=", "--runtime-config="))]
    return [str(place.programs / "handfast-kube"), component, *flags]


def _etcd(place):
    return [
        f"--data-dir={place.dir}/etcd", "--name=node", "--unsafe-no-fsync", "--log-level=warn",
        "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=node=http://127.0.0.1:2380",
    ]


def _apiserver(place):
    pki = place.pki
    return [
        f"--advertise-address={ADDRESS}", "--secure-port=6443", f"--service-cluster-ip-range={SERVICES}",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt", f"--token-auth-file={pki}/tokens.csv",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction,PodSecurity",
        f"--kubelet-certificate-authority={pki}/ca.crt", "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/accounts.pub", f"--service-account-signing-key-file={pki}/accounts.key",
        "--allow-privileged", _gates(), "--runtime-config=certificates.k8s.io/v1beta1=true",
        "--profiling=false",
    ]


def _controller_manager(place):
    pki = place.pki
    return [
        f"--kubeconfig={pki}/controller-manager.kubeconfig", "--use-service-account-credentials",
        f"--service-account-private-key-file={pki}/accounts.key", f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        "--leader-elect=false", "--kube-api-qps=100", "--kube-api-burst=200", _gates(), "--profiling=false",
    ]


def _scheduler(place):
    return [f"--kubeconfig={place.pki}/scheduler.kubeconfig", "--leader-elect=false", "--profiling=false"]


def _gates():
    return "--feature-gates=" + ",".join(f"{gate}=true" for gate in GATES)


def _kubelet(place):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(place.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(place.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(place.pki / "kubelet-server.key"),
        "readOnlyPort": 0,
        "featureGates": {gate: True for gate in GATES},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        "maxPods": 110,
        "serializeImagePulls": False,
        # A changed Secret shows in a pod after this long at most (and a watch), not after a minute and a half.
        "syncFrequency": "10s",
        "volumePluginDir": "/var/lib/kubelet/plugins-of-nobody",
        # The machine is not the cluster's alone, and its disk may be nearly full.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
    }


def _proxy(place):
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(place.pki / "proxy.kubeconfig")},
        "hostnameOverride": NODE,
        "clusterCIDR": PODS,
        "mode": "nftables",
        "nftables": {"minSyncPeriod": "100ms"},
        # These settings are the whole machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
    }


def _containerd(place, snapshotter):
    return f"""\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
address = "{CONTAINERD}"
[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
disable_apparmor = true
# Without it runc dies where resource limits may not be raised ("can't get final child's PID from pipe").
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{place.config}/cni-bin"
conf_dir = "{place.config}/cni"
"""


NETWORK = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [{
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }],
}


def dns(place):
    """The cluster's DNS as ordinary objects: a pod behind the Service kube-dns, as in most clusters. Its program
    comes from the node by a hostPath, which spares an image of 130 MB."""
    meta = {"name": "kube-dns", "namespace": "kube-system"}
    labels = {"k8s-app": "kube-dns"}
    rbac = "rbac.authorization.k8s.io"
    container = {
        "name": "dns",
        "image": PAUSE,
        "imagePullPolicy": "Never",
        "command": ["/programs/handfast-kube", "dns", f"--domain={DOMAIN}"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1, "failureThreshold": 30},
        "securityContext": {"runAsUser": 0, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}},
        "volumeMounts": [{"name": "programs", "mountPath": "/programs", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "kube-dns",
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
        "volumes": [{"name": "programs", "hostPath": {"path": str(place.programs), "type": "Directory"}}],
    }
    items = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "kube-dns"}, "rules": [
            {"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kube-dns"},
         "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "kube-dns"},
         "subjects": [{"kind": "ServiceAccount", **meta}]},
        {"apiVersion": "v1", "kind": "Service", "metadata": {**meta, "labels": labels}, "spec": {
            "clusterIP": DNS_SERVICE, "selector": labels, "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**meta, "labels": labels}, "spec": {
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}

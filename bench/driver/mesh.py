"""The mesh on a real Kubernetes (tests/cluster): pods whose connections are carried by Handfast's sidecars, by a plain
relay, by ztunnel, or by nobody. Backend and load client are processes of the driver's in those pods' networks."""

import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import time

from driver.processes import Failure, Process, of_container

BUSYBOX, IMAGE = "handfast.test/busybox:1", "handfast.test/handfast:1"
HAPROXY, ZTUNNEL = "handfast.test/haproxy:1", "handfast.test/ztunnel:1"
SYSTEM = "handfast-system"
PORT = 8080
# The relay's two hops: what the client calls, and what stands before the server.
NEAR, FAR = 9001, 9002
# Some of the many services have endpoints, three each, where nobody answers.
SLICES = 300
SECONDS = 120
# Alike for all that carry: what a filter of system calls costs, and what weight the kernel's scheduler gives, is in every
# figure.
RESOURCES = {"requests": {"cpu": "10m", "memory": "24Mi"}}
SECCOMP = {"type": "RuntimeDefault"}
RELAY = """\
global
    nbthread 2
    maxconn 4096
defaults
    mode tcp
    option splice-auto
    timeout connect 5s
    timeout client 300s
    timeout server 300s
listen relay
    bind {bind}
    server next {to}
"""


def metadata(name, namespace, **more):
    """An object's name and place."""
    return {"name": name, "namespace": namespace, **more}


def pod(name, namespace, *, containers=(), **spec):
    """A pod that waits, with its service account; what carries its connections is added by others, or here."""
    waiting = {"name": "app", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "100000"]}
    annotations = spec.pop("annotations", {})
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, namespace)},
        {"apiVersion": "v1", "kind": "Pod",
         "metadata": metadata(name, namespace, labels={"app": name}, annotations=annotations),
         "spec": {"serviceAccountName": name, "terminationGracePeriodSeconds": 1,
                  "containers": [waiting, *containers], **spec}},
    ]


def service(name, namespace):
    """A Service for a pod."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name, namespace),
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": PORT}]}}


def relay(name, namespace, bind, to):
    """A pod with a plain relay beside its application."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(f"relay-{name}", namespace),
              "data": {"haproxy.cfg": RELAY.format(bind=bind, to=to)}}
    container = {"name": "relay", "image": HAPROXY, "imagePullPolicy": "Never", "args": ["-db", "-f", "/c/haproxy.cfg"],
                 "resources": RESOURCES, "securityContext": {"seccompProfile": SECCOMP},
                 "volumeMounts": [{"name": "config", "mountPath": "/c"}]}
    volume = {"name": "config", "configMap": {"name": f"relay-{name}"}}
    return [config, *pod(name, namespace, containers=[container], volumes=[volume])]


def ztunnel(name, namespace):
    """A pod whose connections a ztunnel carries, from Handfast's control plane, as crates/cli/tests/mesh_ztunnel.rs does."""
    root = "/var/run/handfast"
    plane = "https://handfast-mesh.handfast-system.svc:15012"
    values = {
        "PROXY_MODE": "dedicated", "PROXY_WORKLOAD_INFO": f"{namespace}/{name}/{name}", "PACKET_MARK": "1337",
        "ENABLE_ORIG_SRC": "false", "XDS_ADDRESS": plane, "CA_ADDRESS": plane, "XDS_ROOT_CA": f"{root}/ca.crt",
        "CA_ROOT_CA": f"{root}/ca.crt", "AUTH_TOKEN": f"{root}/token", "CLUSTER_ID": "Kubernetes", "NODE_NAME": "node",
        "POD_NAME": name, "POD_NAMESPACE": namespace, "SERVICE_ACCOUNT": name, "ZTUNNEL_WORKER_THREADS": "2",
        "RUST_LOG": "info",
    }
    environment = [{"name": key, "value": value} for key, value in values.items()]
    environment.append({"name": "INSTANCE_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    rights = {"runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}, "seccompProfile": SECCOMP}
    before = [
        {"name": "handfast-redirect", "image": IMAGE, "imagePullPolicy": "Never", "securityContext": rights,
         # A pod's ztunnel does not mark what it says to its control plane.
         "args": ["mesh", "redirect", "--skip-outbound-ports", "15012"]},
        {"name": "handfast-proxy", "image": ZTUNNEL, "imagePullPolicy": "Never", "restartPolicy": "Always",
         "args": ["proxy", "ztunnel"], "env": environment, "resources": RESOURCES, "securityContext": rights,
         "startupProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}, "periodSeconds": 1,
                          "failureThreshold": 60},
         "volumeMounts": [{"name": "handfast-mesh", "mountPath": root, "readOnly": True}]},
    ]
    token = {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 43200, "path": "token"}}
    trust = {"configMap": {"name": "handfast-trust", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    volume = {"name": "handfast-mesh", "projected": {"sources": [token, trust]}}
    return pod(name, namespace, annotations={"handfast.dev/injected": "by hand"}, initContainers=before, volumes=[volume])


def services(namespace, count):
    """Many Services, some of them with endpoints."""
    found = []
    for index in range(count):
        name = f"s{index}"
        found.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata(name, namespace),
                      "spec": {"ports": [{"name": "http", "port": 80, "targetPort": PORT}]}})
        if index < SLICES:
            addresses = [f"10.250.{index // 64}.{index % 64 * 4 + last}" for last in range(3)]
            found.append({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                          "metadata": metadata(name, namespace, labels={"kubernetes.io/service-name": name}),
                          "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
                          "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in addresses]})
    return found


def listed(objects):
    """Objects as one document."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


class Side:
    """One pod of a pair: its network, and the process that carries its connections."""

    def __init__(self, found, carrier):
        self.name = found["metadata"]["name"]
        self.address = found["status"]["podIP"]
        states = found["status"]["containerStatuses"] + found["status"].get("initContainerStatuses", [])
        ids = {state["name"]: state["containerID"].rpartition("/")[2] for state in states}
        self.application = of_container(ids["app"])
        self.carrier = of_container(ids[carrier]) if carrier else None

    def within(self, *command):
        """A command in the pod's network. Only the network: everything else is the driver's."""
        return ["nsenter", f"--net=/proc/{self.application}/ns/net", "--", *command]

    def fetch(self, url):
        """What a page says that only the pod's own network reaches."""
        code = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
        done = subprocess.run(self.within(sys.executable, "-c", code, url), capture_output=True, text=True, timeout=20,
                              check=False)
        if done.returncode:
            raise Failure(f"{self.name}: {url}: {done.stderr[-500:]}")
        return done.stdout


class Way:
    """A client, a server, and what carries the connections between them."""

    def __init__(self, name, client, server, target):
        self.name, self.client, self.server, self.target = name, client, server, target
        # Both proxies or relays. The direct way leads past the relay of the same pods.
        self.carriers = [] if name == "direct" else [client.carrier, server.carrier]
        self.backend = None


class Stage:
    """A cluster with the mesh and many services, and pods that are made anew for each round."""

    def __init__(self, cluster, handfast, client, ztunnel_binary, folder):
        self.cluster, self.handfast, self.client, self.folder = cluster, handfast, client, folder
        self.ztunnel = ztunnel_binary
        word = secrets.token_hex(3)
        self.mesh, self.plain, self.many = (f"{name}-{word}" for name in ("mesh", "plain", "many"))

    def prepare(self, count):
        """Images, the mesh, and `count` services."""
        haproxy = shutil.which("haproxy", path="/usr/sbin:/sbin:/usr/bin")
        if not haproxy:
            raise Failure("haproxy is not installed: apt-get install haproxy")
        self.image(IMAGE, self.handfast, "/handfast", "65532")
        self.image(HAPROXY, haproxy, "/haproxy", "0")
        if self.ztunnel:
            self.image(ZTUNNEL, self.ztunnel, "/ztunnel", "0")
        for name in (self.mesh, self.plain, self.many):
            labels = {"handfast.dev/mesh": "enabled"} if name == self.mesh else {}
            self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}])
        self.cluster.control("exec", "--", self.handfast, "mesh", "install", "--apply", "--crds", "--timeout", "2m",
                             "--image", IMAGE, "--image-pull-policy", "Never", limit=200)
        self.cluster.kubectl("create", "-f", "-", stdin=listed(services(self.many, count)))
        for name in (self.mesh, self.plain):
            self.cluster.kubectl("-n", name, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")

    def image(self, name, binary, path, user):
        """Loads a program of this machine as an image."""
        self.cluster.control("image", name, "--binary", f"{binary}:{path}", "--entrypoint", path, "--user", user)

    def apply(self, objects):
        """Makes objects."""
        self.cluster.kubectl("apply", "-f", "-", stdin=listed(objects))

    def ready(self, namespace, name):
        """A pod as it is once it is ready."""
        try:
            self.cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={SECONDS}s")
        except Failure as failure:
            seen = self.cluster.kubectl("-n", namespace, "describe", "pod", name)
            raise Failure(f"{failure}\n{seen[-2000:]}") from failure
        return json.loads(self.cluster.kubectl("-n", namespace, "get", "pod", name, "-o", "json"))

    def address(self, namespace, name):
        """Where a Service is called."""
        found = json.loads(self.cluster.kubectl("-n", namespace, "get", "service", name, "-o", "json"))
        return f"{found['spec']['clusterIP']}:80"

    def side(self, namespace, name, carrier):
        """A pod of a pair."""
        return Side(self.ready(namespace, name), carrier)

    def control_plane(self):
        """The control plane's process."""
        pods = json.loads(self.cluster.kubectl("-n", SYSTEM, "get", "pods", "-o", "json"))["items"]
        found = [state["containerID"].rpartition("/")[2] for one in pods
                 if one["metadata"]["name"].startswith("handfast-mesh-")
                 for state in one["status"].get("containerStatuses", [])]
        return of_container(found[0])

    @contextlib.contextmanager
    def ways(self):
        """Fresh pods with fresh proxies and backends; all of them end with the round."""
        backends = []
        try:
            yield self.raised(backends)
        finally:
            for backend in backends:
                backend.stop()
            for namespace in (self.mesh, self.plain):
                self.cluster.kubectl("-n", namespace, "delete", "pods", "--all", "--wait=true", "--timeout=60s")

    def raised(self, backends):
        """The pairs of a round."""
        self.apply([*pod("client", self.mesh), *pod("server", self.mesh), service("server", self.mesh),
                    *relay("server", self.plain, f":{FAR}", f"127.0.0.1:{PORT}"), service("server", self.plain)])
        if self.ztunnel:
            self.apply([*ztunnel("zclient", self.mesh), *ztunnel("zserver", self.mesh), service("zserver", self.mesh)])
        far = self.side(self.plain, "server", "relay")
        self.apply(relay("client", self.plain, f"127.0.0.1:{NEAR}", f"{far.address}:{FAR}"))
        near = self.side(self.plain, "client", "relay")
        relayed = Way("relay", near, far, f"127.0.0.1:{NEAR}")
        direct = Way("direct", near, far, self.address(self.plain, "server"))
        ways = [direct, relayed]
        for name, client, server in [("handfast", "client", "server"), ("ztunnel", "zclient", "zserver")]:
            if name == "handfast" or self.ztunnel:
                sides = [self.side(self.mesh, one, "handfast-proxy") for one in (client, server)]
                ways.append(Way(name, *sides, self.address(self.mesh, server)))
        for way in ways[1:]:
            listen = [self.client, "backend", "--listen", f"0.0.0.0:{PORT}"]
            way.backend = Process(f"backend-{way.name}-{secrets.token_hex(3)}", way.server.within(*listen), self.folder)
            backends.append(way.backend)
        direct.backend = relayed.backend
        self.await_backends(backends)
        return {way.name: way for way in ways}

    @staticmethod
    def await_backends(backends):
        """Waits until each backend says that it listens."""
        end = time.monotonic() + 20
        for backend in backends:
            while '"listening"' not in backend.complaint():
                if time.monotonic() > end or backend.child.poll() is not None:
                    raise Failure(f"{backend.name} does not start: {backend.complaint()}")
                time.sleep(0.05)

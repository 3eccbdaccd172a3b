"""The mesh's control plane on a real Kubernetes: how long a change takes until many proxies have acknowledged it."""

import http.client
import json
import socket
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from driver import mesh
from driver.kubernetes import CLUSTER
from driver.mesh_results import verdict
from driver.processes import CpuClock, Failure, Process, proportional_memory
from driver.results import number, spread

HEADING = "## The mesh's control plane"
NAMESPACE, SERVER_NAME = "many", "handfast-mesh.handfast-system.svc"
ADDRESS = "127.0.0.1:25012"
# What one call may wait for, and how long nothing happens between two changes.
SECONDS, PAUSE = 30, 0.2
APPLIED_GOAL, MEMORY_GOAL = 50.0, 150.0


@dataclass
class Change:
    """One change: milliseconds until each proxy had acknowledged it, from when the API server was asked for it, and
    from when it had answered."""

    asked: list
    written: list


def rank(values, share):
    """A percentile by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


class Local(http.client.HTTPConnection):
    """HTTP over a socket in the file system, which leads out of a network namespace."""

    def __init__(self, path):
        super().__init__("localhost", timeout=SECONDS)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self.path)


def call(connection, method, path, body):
    """One request to the API server."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    connection.request(method, path, json.dumps(body), {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise Failure(f"{method} {path}: {answer.status} {text[:300]}")


def pod(index):
    """A pod of no kubelet: on a node that is not there. Its Service is one of the many. It says of itself that it has a
    proxy: only who has one is told of the mesh."""
    metadata = mesh.metadata(f"p{index}", NAMESPACE, labels={"app": f"s{index // 2}", "version": "a"})
    metadata["annotations"] = {"handfast.dev/injected": "1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"nodeName": "elsewhere", "automountServiceAccountToken": False,
                     "initContainers": [{"name": "handfast-proxy", "image": mesh.BUSYBOX}],
                     "containers": [{"name": "app", "image": mesh.BUSYBOX}]}}


def status(index, ready=True):
    """What a kubelet would say of it."""
    address = f"10.252.{index // 250}.{index % 250 + 1}"
    said = "True" if ready else "False"
    return {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": "192.0.2.99",
                       "conditions": [{"type": kind, "status": said} for kind in ("Ready", "ContainersReady")]}}


def service(index):
    """A Service, and the endpoints that a controller would make for its two pods."""
    made = mesh.services(NAMESPACE, 1)[0]
    made["metadata"] = mesh.metadata(f"s{index}", NAMESPACE)
    made["spec"]["selector"] = {"app": f"s{index}"}
    return made


class Plane:
    """A control plane as a process of this machine, beside the installed one, with the rights of its account."""

    def __init__(self, cluster, handfast, config, folder):
        words = [CLUSTER, "--dir", cluster.dir, "exec", "--", "env", f"KUBECONFIG={config}", handfast, "mesh", "controller",
                 "--listen", ADDRESS, "--webhook-listen", "127.0.0.1:25017", "--metrics-listen", "127.0.0.1:25014",
                 "--admin", "127.0.0.1:25000"]
        self.process = Process("control-plane", words, folder)
        self.pid = self.process.pid

    def peak_mb(self):
        """The most memory that it ever had resident."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


class Scene:
    """A cluster with the mesh, many Services, and many pods of no kubelet."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.path = folder / "api.sock"
        self.proxy = Process("api", [CLUSTER, "--dir", cluster.dir, "exec", "--", "kubectl", "proxy",
                                     f"--unix-socket={self.path}"], folder)
        self.api = Local(self.path)
        self.turn = 0

    def fill(self, services, pods):
        """Makes everything there is to know."""
        end = time.monotonic() + SECONDS
        while not self.path.exists():
            if time.monotonic() > end:
                raise Failure(f"no kubectl proxy: {self.proxy.complaint()}")
            time.sleep(0.1)
        base = f"/api/v1/namespaces/{NAMESPACE}"

        def part(first, step=4):
            api = Local(self.path)
            for index in range(first, services, step):
                call(api, "POST", f"{base}/services", service(index))
            for index in range(first, pods, step):
                call(api, "POST", f"{base}/pods", pod(index))
                call(api, "PATCH", f"{base}/pods/p{index}/status", status(index))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(part, range(4)))

    def token(self):
        """What a pod of the mesh would show."""
        uid = self.cluster.kubectl("-n", NAMESPACE, "get", "pod", "p0", "-o", "jsonpath={.metadata.uid}")
        return self.cluster.kubectl("-n", NAMESPACE, "create", "token", "default", "--audience=istio-ca", "--duration=2h",
                                    "--bound-object-kind=Pod", "--bound-object-name=p0", f"--bound-object-uid={uid}")

    def change(self, pods):
        """Changes one pod: whether it is ready, as a kubelet would say. Each time it is another than before, also for who
        listens after others did."""
        index = self.turn // 2 % pods
        call(self.api, "PATCH", f"/api/v1/namespaces/{NAMESPACE}/pods/p{index}/status", status(index, self.turn % 2 == 1))
        self.turn += 1


class Proxies:
    """The simulated proxies."""

    def __init__(self, cluster, client, count, ca, token, seconds):
        words = [CLUSTER, "--dir", cluster.dir, "exec", "--", client, "proxies", "--target", ADDRESS, "--name", SERVER_NAME,
                 "--ca", ca, "--token", token, "--count", count]
        self.child = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        begun = time.monotonic()
        self.line()
        self.seconds = time.monotonic() - begun
        if self.seconds > seconds:
            raise Failure(f"{count} proxies were told everything only after {self.seconds:.0f} s")

    def line(self):
        """The next line."""
        text = self.child.stdout.readline()
        if not text:
            raise Failure(f"the proxies ended: {self.child.stderr.read()[-2000:]}")
        return json.loads(text)

    def see(self, change):
        """When all have acknowledged a change."""
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        self.line()
        asked = time.time_ns()
        change()
        written = time.time_ns()
        applied = self.line()["applied_ns"]
        return Change([(at - asked) / 1e6 for at in applied], [(at - written) / 1e6 for at in applied])

    def end(self):
        """Ends them."""
        self.child.stdin.close()
        try:
            self.child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def row(count, seconds, changes, cpu, pss, peak, build="release"):
    """One line of the table."""
    asked = [at for change in changes for at in change.asked]
    written = [at for change in changes for at in change.written]
    p99, worst = rank(asked, 99), spread([max(change.asked) for change in changes])
    good, memory = verdict(p99, APPLIED_GOAL, build), verdict(pss, MEMORY_GOAL, build)
    return (f"| {count:,} | {number(seconds)} | {number(statistics.median(asked))} | {number(p99)} ({good}) | {worst} "
            f"| {number(rank(written, 99))} | {number(cpu * 1000 / len(changes))} | {number(pss)} ({memory}) "
            f"| {number(peak)} |")


def section(rows, failed, facts):
    """The section of RESULTS.md."""
    lines = [HEADING, "",
             "Written by `bench/mesh-control`; how it measures is in [docs/benchmarks.md](../docs/benchmarks.md). Goals: a change",
             f"is applied within {APPLIED_GOAL:g} ms (p99 over all proxies and changes) and memory stays below "
             f"{MEMORY_GOAL:g} MB.", "",
             *(f"- {fact}" for fact in facts), "",
             "| proxies | s until all know everything | applied p50, ms | applied p99, ms | the last proxy, ms "
             "| p99 from the API server's answer, ms | CPU-ms for each change | PSS, MiB | peak RSS, MiB |",
             "|---|---|---|---|---|---|---|---|---|", *rows]
    lines += [f"\n{count:,} proxies: not measured: {why}" for count, why in sorted(failed.items())]
    return "\n".join(lines) + "\n"


def measured(cluster, scene, handfast, client, count, options, paths, folder):
    """One number of proxies, with a control plane of its own: the table's line."""
    config, ca, token, pods = paths
    plane = Plane(cluster, handfast, config, folder)
    try:
        end = time.monotonic() + SECONDS
        while not listening(cluster):
            if time.monotonic() > end or plane.process.child.poll() is not None:
                raise Failure(f"the control plane does not start: {plane.process.complaint()}")
            time.sleep(0.2)
        proxies = Proxies(cluster, client, count, ca, token, 300)
        try:
            time.sleep(3)
            # The first ones warm up, and are not counted.
            for _ in range(4):
                proxies.see(lambda: scene.change(pods))
                time.sleep(PAUSE)
            clock, seen = CpuClock(plane.pid), []
            for _ in range(options.changes):
                seen.append(proxies.see(lambda: scene.change(pods)))
                time.sleep(PAUSE)
            cpu = clock.elapsed()
            pss = proportional_memory(plane.pid) / 2**20
            return row(count, proxies.seconds, seen, cpu, pss, plane.peak_mb(), options.build)
        finally:
            proxies.end()
    finally:
        plane.process.stop()


def listening(cluster):
    """Whether the control plane is ready for proxies."""
    done = subprocess.run([CLUSTER, "--dir", cluster.dir, "exec", "--", "busybox", "wget", "-qO-",
                           "http://127.0.0.1:25014/readyz"], capture_output=True, text=True, timeout=20, check=False)
    return done.returncode == 0

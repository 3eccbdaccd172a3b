"""The controller on a real Kubernetes (tests/cluster): what many Certificates cost that are due at one moment."""

import json
import os
import re
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from driver.processes import CpuClock, Failure, proportional_memory
from driver.results import number, spread

CLUSTER = Path(__file__).resolve().parents[2] / "tests" / "cluster" / "cluster"
HEADING = "## Kubernetes controller"
# What only the controller asks for while the benchmark runs. GETs of Certificates are the garbage collector's, which
# looks whether the owner of a changed Secret is there; LISTs of them are the driver's.
COUNTED = {
    ("", "secrets", ""): {"GET", "APPLY", "PATCH", "POST", "PUT"},
    ("handfast.dev", "certificates", "status"): {"APPLY", "PATCH", "PUT"},
    ("events.k8s.io", "events", ""): {"POST", "PATCH"},
}
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Phase:
    """All Certificates issued once, or renewed once."""

    seconds: float
    cpu: float
    peak_mb: float
    steady_mb: float
    requests: dict


def requests(text):
    """(verb, group, resource) -> count, from the API server's metrics; only those that are counted here."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        labels, _, value = line.rpartition(" ")
        labels = dict(LABEL.findall(labels))
        resource = tuple(labels.get(key, "") for key in ("group", "resource", "subresource"))
        if labels.get("verb") in COUNTED.get(resource, ()):
            key = f"{labels['verb']} {'/'.join(filter(None, resource[1:]))}"
            found[key] = found.get(key, 0) + float(value)
    return found


def per_certificate(before, after, count):
    """Requests of each kind for one certificate."""
    return {key: (value - before.get(key, 0)) / count
            for key, value in sorted(after.items()) if value > before.get(key, 0)}


def issued(log):
    """How many certificates an audit log says were handed out."""
    total = 0
    for line in log.splitlines():
        action = json.loads(line).get("action") if line.startswith("{") and line.endswith("}") else ""
        total += {"issue": 1, "renew": 1, "discard": -1}.get(action, 0)
    return total


def objects(namespace, count, lifetime):
    """Certificates as a stream of YAML."""
    return "".join(f"---\napiVersion: handfast.dev/v1\nkind: Certificate\n"
                   f"metadata: {{name: c{i}, namespace: {namespace}}}\n"
                   f"spec: {{secretName: c{i}, serviceAccount: default, lifetime: {lifetime}}}\n" for i in range(count))


def rights(namespace, count):
    """The controller's right to each Secret by name, a thousand in a Role."""
    parts = [f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"]
    for begin in range(0, count, 1000):
        names = ", ".join(f"c{i}" for i in range(begin, min(begin + 1000, count)))
        role = f"bench-{begin}"
        parts.append(f"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"
                     f"metadata: {{name: {role}, namespace: {namespace}}}\nrules:\n"
                     f"- {{apiGroups: [''], resources: [secrets], resourceNames: [{names}], verbs: [get, create, patch]}}\n")
        parts.append(f"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n"
                     f"metadata: {{name: {role}, namespace: {namespace}}}\n"
                     f"roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {role}}}\n"
                     f"subjects: [{{kind: ServiceAccount, name: handfast-controller, namespace: handfast-system}}]\n")
    return "---\n".join(parts)


def without_deployment(manifest):
    """What is installed, but for the pods: the controller runs where its memory and time can be read."""
    return "---\n".join(part for part in re.split(r"^---$\n?", manifest, flags=re.M)
                        if part.strip() and not re.search(r"^kind: Deployment$", part, flags=re.M))


class Cluster:
    """A cluster of its own."""

    def __init__(self, folder):
        self.dir = folder
        self.control("up", limit=400)

    def control(self, *words, limit=120, stdin=None):
        """One command of tests/cluster; its stdout."""
        done = subprocess.run([CLUSTER, "--dir", self.dir, *words], input=stdin, capture_output=True, text=True,
                              timeout=limit, check=False)
        if done.returncode:
            raise Failure(f"cluster {' '.join(words[:4])}: {done.stderr[-2000:]}")
        return done.stdout

    def kubectl(self, *words, stdin=None, limit=900):
        """kubectl as the administrator; its stdout."""
        return self.control("kubectl", *words, stdin=stdin, limit=limit)

    def down(self):
        """Ends it."""
        self.control("down")


class ControllerCluster(Cluster):
    """A cluster with everything of the controller but its pods."""

    def __init__(self, folder, handfast):
        super().__init__(folder)
        self.handfast = handfast
        try:
            printed = subprocess.run([handfast, "kube", "install"], check=True, capture_output=True, text=True).stdout
            self.kubectl("apply", "--server-side", "-f", "-", stdin=without_deployment(printed))
            token = self.kubectl("-n", "handfast-system", "create", "token", "handfast-controller", "--duration=8h")
            self.config = folder / "controller.kubeconfig"
            lines = (folder / "kubeconfig").read_text()
            self.config.write_text(re.sub(r"(\btoken\"?:\s*)\"?[^\s\",}]+\"?", rf'\1"{token.strip()}"', lines))
            self.config.chmod(0o600)
        except (Failure, subprocess.SubprocessError, OSError):
            self.down()
            raise

    def requests(self):
        """What the API server has counted so far."""
        return requests(self.kubectl("get", "--raw", "/metrics"))

    def ready(self, namespace):
        """How many Certificates are Ready for their present spec."""
        path = "{range .items[*]}{.metadata.generation}{' '}{.status.observedGeneration}{' '}" \
               "{.status.conditions[0].status}{'\\n'}{end}"
        lines = self.kubectl("-n", namespace, "get", "certificates.handfast.dev", "-o", f"jsonpath={path}").splitlines()
        return sum(1 for words in map(str.split, lines) if len(words) == 3 and words[0] == words[1] and words[2] == "True")


class Controller:
    """The controller as a process of this machine, with the rights of its own service account."""

    def __init__(self, cluster, folder):
        self.audit, self.log = folder / "audit.jsonl", folder / "controller.log"
        words = [CLUSTER, "--dir", cluster.dir, "exec", "--", "env", f"KUBECONFIG={cluster.config}", cluster.handfast,
                 "kube", "controller", "--listen", "127.0.0.1:19402"]
        with self.audit.open("wb") as audit, self.log.open("wb") as log:
            self.child = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=audit, stderr=log)
        self.pid = self.child.pid

    def is_controller(self):
        """Whether the process has become the controller: what started it hands over its own process."""
        try:
            return os.readlink(f"/proc/{self.pid}/exe").endswith("/handfast")
        except OSError:
            return False

    def peak_mb(self):
        """The most memory that it ever had resident."""
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text()).group(1)) / 1024

    def check(self):
        """Fails when it has ended."""
        if self.child.poll() is not None:
            raise Failure(f"the controller ended: {self.log.read_text(errors='replace')[-2000:]}")

    def stop(self):
        """Asks it to end, then ends it."""
        self.child.terminate()
        try:
            self.child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def phase(cluster, namespace, count, folder, limit):
    """Starts a controller where `count` Certificates are due, waits until all are Ready, and says what it cost."""
    before, begun = cluster.requests(), time.monotonic()
    controller = Controller(cluster, folder)
    try:
        end = begun + limit
        while not controller.is_controller():
            controller.check()
            if time.monotonic() > end:
                raise Failure("the controller does not start")
            time.sleep(0.01)
        # From its first instruction: what it needs to start belongs to it.
        begun, clock = time.monotonic(), CpuClock(controller.pid)
        while issued(controller.audit.read_text()) < count:
            controller.check()
            if time.monotonic() > end:
                raise Failure(f"only {issued(controller.audit.read_text())} of {count} issued in {limit} s")
            time.sleep(0.1)
        while (ready := cluster.ready(namespace)) < count:
            controller.check()
            if time.monotonic() > end:
                raise Failure(f"only {ready} of {count} are Ready after {limit} s")
            time.sleep(0.2)
        seconds, cpu = time.monotonic() - begun, clock.elapsed()
        time.sleep(5)
        found = issued(controller.audit.read_text())
        if found != count:
            raise Failure(f"{found} certificates were issued for {count} Certificates")
        return Phase(seconds, cpu, controller.peak_mb(), proportional_memory(controller.pid) / 1024 / 1024,
                     per_certificate(before, cluster.requests(), count))
    finally:
        controller.stop()


def round_of(cluster, namespace, count, folder, limit):
    """One round: all of them issued, then all of them renewed at one moment."""
    folder.mkdir()
    cluster.kubectl("apply", "-f", "-", stdin=rights(namespace, count))
    cluster.kubectl("-n", namespace, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=objects(namespace, count, "90d"))
    first = phase(cluster, namespace, count, folder, limit)
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=objects(namespace, count, "80d"))
    second = phase(cluster, namespace, count, folder, limit)
    cluster.kubectl("delete", "namespace", namespace, "--wait=true", "--timeout=800s")
    return first, second


def rows(count, what, phases):
    """One line of the table, and the requests one by one."""
    total = [sum(phase.requests.values()) for phase in phases]
    cells = [spread([phase.seconds for phase in phases]), spread([phase.cpu for phase in phases]),
             spread([phase.cpu / count * 1e3 for phase in phases]), spread([phase.peak_mb for phase in phases]),
             spread([phase.steady_mb for phase in phases]), spread(total)]
    return f"| {count:,} {what} | {len(phases)} | " + " | ".join(cells) + " |"


def section(gathered, failed, facts):
    """The section of RESULTS.md. `gathered`: count -> rounds, each a pair of phases; `failed`: count -> why."""
    lines = [HEADING, "",
             "Written by `bench/kubernetes`; how it measures is in [docs/benchmarks.md](../docs/benchmarks.md). All",
             "Certificates are due when the controller starts. Medians, and extremes where there are several rounds.", "",
             *(f"- {fact}" for fact in facts), "",
             "| Certificates | rounds | s until all are Ready | CPU-s | CPU-ms for each | peak RSS, MB | PSS after 5 s, MB "
             "| requests for each |", "|---|---|---|---|---|---|---|---|"]
    for count, rounds in sorted(gathered.items()):
        for index, what in enumerate(("issued", "renewed")):
            if rounds:
                lines.append(rows(count, what, [one[index] for one in rounds]))
    lines += [f"\n{count:,} Certificates: not measured: {why}" for count, why in sorted(failed.items())]
    for index, what in enumerate(("issued", "renewed")):
        rounds = next((rounds for _, rounds in sorted(gathered.items()) if rounds), None)
        if rounds:
            keys = sorted({key for one in rounds for key in one[index].requests})
            each = ", ".join(f"{key} {number(statistics.median(one[index].requests.get(key, 0) for one in rounds))}"
                             for key in keys)
            lines += ["", f"Requests for each certificate that is {what}: {each}."]
    return "\n".join(lines) + "\n"

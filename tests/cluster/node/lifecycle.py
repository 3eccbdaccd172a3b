"""Up, down, and what faults need in between: stopping and starting one component."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from node import certificates, components, images, sandbox
from node.place import ADDRESS, API, HIDDEN, NODE, Failure, alive, end

BUILD = Path(__file__).resolve().parent.parent / "build"
# In the order of their start; they are ended in the opposite one.
COMPONENTS = ["etcd", "containerd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy",
              "kubelet"]
PATIENCE = 120


class Steps:
    """Says what has been done, and how long it took."""

    def __init__(self):
        self.began = self.last = time.monotonic()

    def done(self, what):
        now = time.monotonic()
        print(f"{now - self.last:6.1f} s  {what}", file=sys.stderr, flush=True)
        self.last = now

    def end(self, what):
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", file=sys.stderr, flush=True)


def up(place):
    """Brings the cluster up; one that is up already stays as it is. A killed one is cleared away first."""
    steps = Steps()
    programs = _programs()
    with place.lock():
        if problems(place) == []:
            print(f"already up in {place.dir}", file=sys.stderr)
            return
        clear(place)
        _remove(place.logs)
        for folder in (place.logs, place.run, place.node):
            folder.mkdir()
        (place.run / "programs").write_text(programs)
        steps.done("components built, folder cleared")
        try:
            sandbox.create(place)
            # A child enters the cluster's namespaces for good; this process stays outside, to clear up after it.
            _in_child(lambda: _start_all(place, steps))
            (place.run / "complete").touch()
        except BaseException:
            clear(place)
            raise
        steps.end(f"the cluster is up: KUBECONFIG={place.kubeconfig}, inside /run/netns/{place.name}")


def _programs():
    """The folder of the components, built where they are not."""
    built = subprocess.run([BUILD], stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        raise Failure("the components could not be built")
    folder = Path(built.stdout.strip())
    for hidden in HIDDEN:
        if folder.is_relative_to(hidden):
            raise Failure(f"the components cannot be run from below {hidden}: set XDG_CACHE_HOME to another folder")
    return str(folder)


def down(place):
    """Ends everything of this cluster; of its folder the logs stay. Also right where nothing is up."""
    if place.dir.exists():
        with place.lock():
            clear(place)


def clear(place):
    """Leaves no process, mount, namespace, control group or file but the logs, whatever state it finds."""
    end(list(reversed(place.recorded().values())), seconds=1)
    sandbox.kill_members(place)
    sandbox.remove(place)
    for leftover in (place.node, place.pki, place.config, place.run, place.cache, place.dir / "etcd"):
        _remove(leftover)
    place.kubeconfig.unlink(missing_ok=True)


def _remove(folder):
    if folder.exists():
        shutil.rmtree(folder)


def problems(place):
    """What keeps this cluster from being up, in words; nothing where it is."""
    records = place.recorded()
    found = [f"{name} does not run" for name in COMPONENTS if name not in records or not alive(records[name])]
    if not (place.run / "complete").exists():
        found.append("it was not brought up to the end")
    if not os.path.exists(place.netns):
        found.append("its network namespace is not there")
    return found


def stop(place, component):
    """Ends one component, as a fault; what it knew stays where it is."""
    with place.lock():
        # The API server would wait a minute for clients that hold their connections open.
        end([_record(place, component)], seconds=3)


def start(place, component, plain=False):
    """Starts a component that has ended, with the same command line, and waits until it serves. With plain it is as
    in a cluster whose feature gates are off."""
    with place.lock():
        if not alive(_record(place, component)):
            _in_child(lambda: _start_again(place, component, plain))


def _record(place, component):
    record = place.recorded().get(component)
    if record is None:
        raise Failure(f"the cluster is not up: {component} was not started")
    return record


def _start_again(place, component, plain):
    sandbox.enter_existing(place)
    _spawn(place, component, plain)
    _await_component(place, component)


def _start_all(place, steps):
    """Runs inside the child. What takes long runs beside what does not depend on it."""
    sandbox.enter_new(place)
    token = certificates.make(place)
    components.configure(place, sandbox.snapshotter(place))
    steps.done("namespaces, certificates, configuration")
    _spawn(place, "etcd")
    _spawn(place, "containerd")
    _await_component(place, "etcd")
    _spawn(place, "kube-apiserver")
    _await_component(place, "containerd")
    images.load_image(images.pause(place))
    images.load_image(images.busybox())
    steps.done("etcd, containerd, images")
    _await_component(place, "kube-apiserver")
    steps.done("API server")
    for component in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        _spawn(place, component)
    _kubectl(place, "create", "--filename", place.config / "dns.json")
    for component in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"):
        _await_component(place, component)
    steps.done("kubelet, controller-manager, scheduler, kube-proxy")
    _wait(place, "kubelet", "the node is not ready", lambda: _node_ready(place, token))
    steps.done("node ready")
    try:
        _wait(place, "kubelet", "DNS does not run", lambda: _dns_ready(place, token))
    except Failure as failure:
        logs = sorted(place.logs.glob("node/pods/kube-system_kube-dns*/dns/*.log"))
        raise Failure(str(failure), logs[-1] if logs else failure.log) from None
    steps.done("DNS")


def _in_child(work):
    """Runs work in a child that ends with us; its failure becomes ours."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sandbox.die_with_parent()
            work()
            os._exit(0)
        except Failure as failure:
            os.write(writer, json.dumps([str(failure), str(failure.log or "")]).encode())
        except subprocess.CalledProcessError as failure:
            said = failure.stderr or ""
            said = said if isinstance(said, str) else said.decode(errors="replace")
            os.write(writer, json.dumps([f"{failure} {said}", ""]).encode())
        except BaseException as failure:  # whatever it is, the parent has to clear up
            os.write(writer, json.dumps([f"{type(failure).__name__}: {failure}", ""]).encode())
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as told:
        said = told.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        message, log = json.loads(said) if said else ("the child that starts the components was killed", "")
        raise Failure(message, log or None)


def _spawn(place, component, plain=False):
    argv = components.command(place, component, plain)
    with open(place.logs / f"{component}.log", "ab") as log:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            env={"PATH": images.PROGRAMS, "HOME": "/root"}, preexec_fn=lambda: sandbox.join_group(place))
    place.record(component, process.pid, argv)


def _kubectl(place, *arguments):
    done = subprocess.run([place.programs / "kubectl", *arguments], capture_output=True, text=True,
                          env={**os.environ, **place.environment()})
    if done.returncode != 0:
        raise Failure(f"kubectl {arguments[0]}: {done.stderr.strip()}", place.logs / "kube-apiserver.log")


def _await_component(place, component):
    """Waits until a component serves."""
    probe = {
        "etcd": lambda: _fetch(place, "http://127.0.0.1:2379/readyz"),
        "containerd": _containerd_listens,
        "kube-apiserver": lambda: _fetch(place, f"{API}/readyz"),
        "kube-controller-manager": lambda: _fetch(place, "https://127.0.0.1:10257/healthz"),
        "kube-scheduler": lambda: _fetch(place, "https://127.0.0.1:10259/readyz"),
        "kubelet": lambda: _fetch(place, "http://127.0.0.1:10248/healthz"),
        "kube-proxy": lambda: _fetch(place, f"http://{ADDRESS}:10256/healthz"),
    }[component]
    _wait(place, component, f"{component} is not ready", probe)


def _wait(place, component, problem, probe):
    log = place.logs / f"{component}.log"
    deadline = time.monotonic() + PATIENCE
    # A test may have stopped others on purpose.
    watched = {name: record for name, record in place.recorded().items() if name == component or alive(record)}
    while not probe():
        for name, record in watched.items():
            if not alive(record):
                raise Failure(f"{name} has ended", place.logs / f"{name}.log")
        if time.monotonic() > deadline:
            raise Failure(f"{problem} after {PATIENCE} s", log)
        time.sleep(0.1)


def _containerd_listens():
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(components.CONTAINERD)
        except OSError:
            return False
    return True


def _fetch(place, url, token=None):
    """The body of a page, or None where it cannot be had now."""
    context = None
    if url.startswith("https"):
        context = ssl.create_default_context(cafile=place.pki / "ca.crt")
        if not url.startswith(API):  # self-signed, on the loopback, and asked only for its health
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=5) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError):
        return None


def _node_ready(place, token):
    node = json.loads(_fetch(place, f"{API}/api/v1/nodes/{NODE}", token) or "{}")
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _dns_ready(place, token):
    path = "/apis/apps/v1/namespaces/kube-system/deployments/kube-dns"
    deployment = json.loads(_fetch(place, API + path, token) or "{}")
    return deployment.get("status", {}).get("readyReplicas", 0) > 0

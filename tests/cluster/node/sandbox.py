"""What holds a cluster together and apart from the rest of the machine.

A network namespace: all addresses and all traffic are inside. A mount namespace: the paths that Kubernetes takes
for granted (/run/containerd, /var/lib/kubelet, /var/log/pods, ...) are the cluster's own, and every mount that
kubelet and containerd make is gone with the last process. A control group: whatever a component starts is in it,
so that ending the cluster needs no guess about what belongs to it.
"""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from node.place import ADDRESS, HIDDEN, SERVICES, Failure, alive, reap

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_SLAVE, MS_SHARED = 0x1000, 0x4000, 0x80000, 0x100000
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1

# What kubelet wants here it would set for the whole machine, for good. It is shown files that say so already.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}

# The node's address sits on one end of a pair of which the other end leads nowhere. Services have no interface;
# their route is there so that the node itself can ask for them, and kube-proxy sends them elsewhere.
LINKS = f"""
link set lo up
link add node0 type veth peer name node1
link set node1 up
link set node0 up
address add {ADDRESS}/24 dev node0
route add {SERVICES} dev node0 src {ADDRESS}
"""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *arguments):
    if getattr(_libc, function)(*arguments) != 0:
        error = ctypes.get_errno()
        raise Failure(f"{function}{arguments}: {os.strerror(error)}")


def mount(source, target, kind, flags, data=None):
    encoded = [str(word).encode() if word is not None else None for word in (source, target, kind)]
    _call("mount", *encoded, ctypes.c_ulong(flags), data.encode() if data else None)


def enter(path):
    """Enters the namespace that a file stands for."""
    with open(path) as namespace:
        _call("setns", namespace.fileno(), 0)


def die_with_parent():
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)


def hierarchies():
    """The roots of the control groups: one for each controller in version 1, a single one in version 2."""
    roots = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            roots.append(Path(fields.split()[4]))
    return roots


def _tracking():
    """The hierarchy by which we know our processes."""
    roots = hierarchies()
    return next((root for root in roots if root.name == "pids"), roots[0])


def create(place):
    """Makes the control groups and the network namespace; they outlast this process."""
    for root in hierarchies():
        group = root / place.name
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # in version 1 a group has none until it is given some
            if root.name == "cpuset" and not (group / name).read_text().strip():
                (group / name).write_text((root / name).read_text())
    (_tracking() / place.name / "system").mkdir(exist_ok=True)
    subprocess.run(["ip", "netns", "add", place.name], check=True)


def join_group(place):
    """Puts the calling process, and so whatever it will start, into the cluster's control group."""
    (_tracking() / place.name / "system" / "cgroup.procs").write_text("0")


def enter_new(place):
    """Takes this process into the network namespace and a mount namespace that begins here."""
    enter(place.netns)
    subprocess.run(["ip", "-batch", "-"], input=LINKS, text=True, check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():  # else a pod that reaches itself or its neighbour by a Service gets no answer
        bridged.write_text("1")

    _call("unshare", CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_SLAVE)
    mount(None, "/", None, MS_REC | MS_SHARED)
    for hidden, own in HIDDEN.items():
        (place.dir / own).mkdir(parents=True, exist_ok=True)
        mount(place.dir / own, hidden, None, MS_BIND)
    for setting, value in KERNEL_SETTINGS.items():
        shown = place.node / "kernel" / setting
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(f"{value}\n")
        mount(shown, f"/proc/sys/{setting}", None, MS_BIND)


def enter_existing(place):
    """Takes this process to where the cluster's components are."""
    pid = next((record["pid"] for record in place.recorded().values() if alive(record)), None)
    if pid is None:
        raise Failure("the cluster is not up: no component runs")
    enter(place.netns)
    enter(f"/proc/{pid}/ns/mnt")


def snapshotter(place):
    """overlayfs where the folder's file system bears it, else plain copies."""
    trial = place.node / "trial"
    layers = [trial / name for name in ("lower", "upper", "work", "merged")]
    for layer in layers:
        layer.mkdir(parents=True, exist_ok=True)
    lower, upper, work, merged = layers
    try:
        mount("overlay", merged, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
    except Failure:
        return "native"
    _call("umount2", str(merged).encode(), MNT_DETACH)
    return "overlayfs"


def members(place):
    """Every process in the cluster's control group, pods included."""
    pids = set()
    for file in (_tracking() / place.name).rglob("cgroup.procs"):
        try:
            pids.update(int(pid) for pid in file.read_text().split())
        except OSError:
            pass  # the group went away while we read
    return pids - {0}


def kill_members(place):
    deadline = time.monotonic() + 20
    while pids := members(place):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        if time.monotonic() > deadline:
            raise Failure(f"these processes do not end: {sorted(pids)}")
        time.sleep(0.02)


def mounts_below(folder):
    """What is mounted below a folder, the deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if Path(point).is_relative_to(folder)), reverse=True)


def remove(place):
    """Takes away the namespace, mounts and groups; the processes have ended."""
    for point in mounts_below(place.dir):
        _call("umount2", point.encode(), MNT_DETACH)
    if os.path.exists(place.netns):
        subprocess.run(["ip", "netns", "delete", place.name], check=True)
    for root in hierarchies():
        deadline = time.monotonic() + 5
        while (root / place.name).exists():
            for folder, _, _ in os.walk(root / place.name, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError as error:  # the kernel may take a moment to see that a group is empty
                    if time.monotonic() > deadline:
                        raise Failure(f"{folder} cannot be removed: {error}") from error
            time.sleep(0.01)

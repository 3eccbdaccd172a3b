"""The cluster's folder and what is known about it: names, addresses, recorded processes."""

import fcntl
import hashlib
import json
import os
import signal
import time
from pathlib import Path

NODE = "node"
ADDRESS = "192.0.2.10"
API = f"https://{ADDRESS}:6443"
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
DOMAIN = "cluster.local"

# These are hidden behind folders of the cluster's own from everything that runs in it (sandbox.py).
HIDDEN = {"/run": "node/run", "/var/lib": "node/lib", "/var/log": "logs/node"}


class Failure(Exception):
    """What went wrong; `log` is the file that tells more."""

    def __init__(self, message, log=None):
        super().__init__(message)
        self.log = log


class Place:
    """A folder that holds one cluster: `logs` outlives the cluster, the rest ends with it."""

    def __init__(self, folder):
        self.dir = Path(folder).resolve()
        # The name of its network namespace and its control group.
        self.name = "handfast-" + hashlib.sha256(str(self.dir).encode()).hexdigest()[:8]
        self.logs = self.dir / "logs"
        self.run = self.dir / "run"
        self.node = self.dir / "node"
        self.pki = self.dir / "pki"
        self.config = self.dir / "config"
        self.cache = self.dir / "cache"
        self.kubeconfig = self.dir / "kubeconfig"
        for hidden in HIDDEN:
            if self.dir.is_relative_to(hidden):
                raise Failure(f"the cluster's folder cannot lie below {hidden}: choose another with --dir")

    @property
    def netns(self):
        return f"/run/netns/{self.name}"

    @property
    def programs(self):
        """The folder that `build` made, as the running cluster uses it."""
        return Path((self.run / "programs").read_text())

    def environment(self):
        """What a client of this cluster needs. kubectl remembers what an address serves; the next cluster has the
        same address."""
        return {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.cache)}

    def lock(self):
        """Keeps others from starting or ending this cluster as long as the result is open."""
        self.dir.mkdir(parents=True, exist_ok=True)
        file = open(self.dir / "lock", "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def record(self, component, pid, argv):
        entry = {"pid": pid, "start": started(pid), "argv": argv}
        (self.run / f"{component}.json").write_text(json.dumps(entry))

    def recorded(self):
        """Each component's record, in the order of their start."""
        records = {}
        for file in sorted(self.run.glob("*.json"), key=lambda file: file.stat().st_mtime_ns):
            try:
                records[file.stem] = json.loads(file.read_text())
            except ValueError:
                pass  # `up` was killed while it wrote: the control group knows that process all the same
        return records


def started(pid):
    """When the process was started, in ticks since boot: a recycled number has another. None: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def alive(record):
    return record["start"] is not None and started(record["pid"]) == record["start"]


def end(records, seconds):
    """Asks processes to end, and kills those that have not done so in time."""
    for last, number in ((False, signal.SIGTERM), (True, signal.SIGKILL)):
        for record in records:
            if alive(record):
                os.kill(record["pid"], number)
        deadline = time.monotonic() + (5 if last else seconds)
        while any(map(alive, records)) and time.monotonic() < deadline:
            reap()
            time.sleep(0.02)


def reap():
    """Takes note of our own children that have ended, so that they do not linger as zombies."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

"""Starting and ending the servers, and what they cost: CPU time and memory read from /proc.

Only processes that were started here are ever signalled, each by its own id.
"""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Why a benchmark cannot go on, for a person."""


def free_ports(count):
    """`count` different free ports on the loopback address."""
    sockets = []
    for _ in range(count):
        one = socket.socket()
        one.bind(("127.0.0.1", 0))
        sockets.append(one)
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def descendants(pid):
    """`pid` and all its children, whichever of its threads started them."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += descendants(int(child))
    return found


class CpuClock:
    """CPU seconds that a tree of processes has used since this clock was made."""

    def __init__(self, pid):
        self.pid = pid
        self.threads, self.whole = self._read()

    def _read(self):
        threads, whole = {}, {}
        for pid in descendants(self.pid):
            try:
                # After the command's name, which may hold anything: fields 14 and 15 are utime and stime.
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                whole[pid] = (int(fields[11]) + int(fields[12])) / TICK
                for task in Path(f"/proc/{pid}/task").iterdir():
                    threads[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
            except (OSError, IndexError):
                continue
        return threads, whole

    def elapsed(self):
        """To the nanosecond from the threads; from the processes' own ticks when threads have ended meanwhile."""
        threads, whole = self._read()
        exact = sum(used - self.threads.get(task, 0) for task, used in threads.items())
        coarse = sum(used - self.whole.get(pid, 0) for pid, used in whole.items())
        ended = set(self.threads) - set(threads)
        return max(exact, coarse) if ended else exact


def proportional_memory(pid, kind="Pss"):
    """PSS in bytes of a tree of processes; or a part of it, such as `Pss_Anon`, which no file on disk backs."""
    total = 0
    for one in descendants(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith(kind + ":"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def of_container(container):
    """The first process of a container, by its id in the control groups: a cluster's processes are this machine's."""
    members = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and container in (entry / "cgroup").read_text():
                members[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    first = [pid for pid, parent in members.items() if parent not in members]
    if len(first) != 1:
        raise Failure(f"{len(first)} first processes of the container {container[:12]}")
    return first[0]


class Process:
    """A child in a session of its own, whose output goes to a file."""

    def __init__(self, name, command, folder, environment=None):
        self.name = name
        self.log = folder / f"{name}.log"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                start_new_session=True, env={**os.environ, **(environment or {})},
            )
        self.pid = self.child.pid

    def complaint(self):
        """The end of what the process wrote."""
        return self.log.read_text(errors="replace")[-2000:]

    def await_port(self, port, seconds=20):
        """Waits until somebody listens on the port."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended with code {self.child.returncode}:\n{self.complaint()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failure(f"{self.name} does not listen on port {port} after {seconds} s:\n{self.complaint()}")

    def stop(self):
        """Asks the process to end, then ends it and the children it had."""
        family = descendants(self.pid)
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        for pid in family[1:]:
            try:
                # Orphans of a server that was killed; a foreign process that got the id has another session.
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

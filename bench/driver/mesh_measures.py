"""What is measured of the mesh, and one measurement: a load through a pair of pods, with the cost of both proxies."""

import re
import time
from dataclasses import dataclass, field

from driver.measures import GB, KB, MS, S, S_GB, Load, Measure, per_unit
from driver.processes import CpuClock, Failure, proportional_memory

# Requests in a second: what two cores carry with time to spare, on all ways.
RATE = 400
# Connections that the load client makes in its warm-up of each worker that makes new ones.
WARM_UP = 5
OPEN = "open-loop"
PLAN = [
    Measure("down-1", "download, one flow", S_GB, "bulk-down", False, GB, GB // 8, 1),
    Measure("down-8", "download, 8 flows", S_GB, "bulk-down", False, GB // 8, GB // 64, 8),
    Measure("down-64", "download, 64 flows", S_GB, "bulk-down", False, GB // 64, GB // 512, 64),
    Measure("up-1", "upload, one flow", S_GB, "bulk-up", False, GB, GB // 8, 1),
    Measure("requests", "1 KB requests, keep-alive", MS, "h1", False, 20_000, 4_000, 16),
    Measure("new", "new connections with one 1 KB request each", S, "handshake", False, 3_000, 500, 8),
    Measure(OPEN, f"1 KB requests, {RATE} in a second", MS, "rate", False, RATE * 10, RATE * 3, 16),
    Measure("idle", "memory of an idle connection, both proxies together", KB, "idle", False, 1_000, 500, 16),
]
SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Result:
    """What one measurement gave. `value` is None where nobody carries the connections."""

    value: float
    wall: float
    latency: dict
    # The backend's own CPU, in the same unit: what no proxy changes much.
    backend: float = None


@dataclass
class Idle:
    """Memory of the two carriers of a way before any load, in MiB: all of it, and what no file backs."""

    pss: list = field(default_factory=list)
    anonymous: list = field(default_factory=list)


def opened(measure, count):
    """How many connections the load client makes in all."""
    if measure.mode == "idle":
        return count
    if measure.mode == "handshake":
        return measure.connections * WARM_UP + count
    return measure.connections


def secured(text, kind, direction):
    """(by mutual TLS, otherwise) of a proxy's counted connections in one direction, from its metrics."""
    if kind == "handfast":
        name, wanted = "handfast_mesh_connections_total", {"direction": direction}
        sign = ("secured", "hbone")
    else:
        reporter = {"outbound": "source", "inbound": "destination"}[direction]
        name, wanted = "istio_tcp_connections_opened_total", {"reporter": reporter}
        sign = ("connection_security_policy", "mutual_tls")
    good = other = 0
    for found, labels, value in SAMPLE.findall(text):
        labels = dict(LABEL.findall(labels))
        if found == name and all(labels.get(key) == one for key, one in wanted.items()):
            if labels.get(sign[0]) == sign[1]:
                good += float(value)
            else:
                other += float(value)
    return good, other


def counted(way):
    """What both proxies have counted so far: (by mutual TLS, otherwise) of each. Nothing where there is no proxy."""
    if way.name not in ("handfast", "ztunnel"):
        return None
    sides = ((way.client, "outbound"), (way.server, "inbound"))
    return [secured(side.fetch("http://127.0.0.1:15020/metrics"), way.name, direction) for side, direction in sides]


def check_secured(way, before, expected, what, seconds=15):
    """Both proxies must have carried exactly what was done, by mutual TLS, and nothing otherwise."""
    if before is None:
        return
    end = time.monotonic() + seconds
    while True:
        grown = [(now[0] - then[0], now[1] - then[1]) for now, then in zip(counted(way), before)]
        if grown == [(expected, 0)] * 2:
            return
        # A connection is counted when it has ended on both sides.
        if time.monotonic() > end:
            raise Failure(f"{way.name}, {what}: {expected} connections were made, and the proxies (client's, server's) "
                          f"counted by mutual TLS and otherwise {grown}")
        time.sleep(0.2)


class Clocks:
    """CPU of several processes together."""

    def __init__(self, pids):
        self.clocks = [CpuClock(pid) for pid in pids]

    def elapsed(self):
        """Seconds since it was made."""
        return sum(clock.elapsed() for clock in self.clocks)


def load(way, client, measure, count, limit):
    """The load client in the pod of the client."""
    words = [client, measure.mode, "--plain", "--target", way.target, "--connections", measure.connections,
             "--count", count, "--limit-seconds", limit]
    if measure.mode == "rate":
        words += ["--rate", RATE]
    return Load(f"{way.name}, {measure.name}", way.client.within(*words))


def check(report, measure, way, count):
    """Every run must be complete."""
    bulk = measure.mode.startswith("bulk")
    done = report["bytes"] if bulk else report["completed"]
    if done != (count * measure.connections if bulk else count):
        raise Failure(f"{way.name}, {measure.name}: {done} done of {count}")


def cpu(way, client, measure, count, limit):
    """A measurement of CPU time, read around the load and nothing else."""
    before = counted(way)
    running = load(way, client, measure, count, limit)
    try:
        running.line()
        ours, backends = Clocks(way.carriers), Clocks([way.backend.pid])
        report = running.go()
        cost, backend = ours.elapsed(), backends.elapsed()
    finally:
        running.end()
    check(report, measure, way, count)
    check_secured(way, before, opened(measure, count), measure.name)
    value = per_unit(measure, cost, report) if way.carriers else None
    return Result(value, report["seconds"], report["latency_us"], per_unit(measure, backend, report))


def memory_of(way, kind="Pss"):
    """Bytes of each carrier."""
    return [proportional_memory(pid, kind) for pid in way.carriers]


def idle(way):
    """The carriers of a way that have carried nothing yet."""
    return Idle([one / 2**20 for one in memory_of(way)], [one / 2**20 for one in memory_of(way, "Pss_Anon")])


def connections(way, client, measure, count, limit, settle):
    """Memory of open connections that have done one request each: of pods that have carried 32 before."""
    before = counted(way)
    warm = load(way, client, measure, 32, limit)
    try:
        warm.line()
        warm.go()
    finally:
        warm.end()
    time.sleep(settle)
    base = sum(memory_of(way))
    running = load(way, client, measure, count, limit)
    try:
        running.line()
        time.sleep(settle)
        full = sum(memory_of(way))
        report = running.go()
    finally:
        running.end()
    check(report, measure, way, count)
    check_secured(way, before, count + 32, measure.name)
    return Result((full - base) / 1024 / count, report["seconds"], report["latency_us"])

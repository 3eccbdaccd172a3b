"""What is measured, and one measurement: a load against one server, with the server's cost around it."""

import json
import subprocess
import time
from dataclasses import dataclass

from driver.processes import CpuClock, Failure, proportional_memory

GB = 1_000_000_000
EXPECTED = {"version": "TLSv1_3", "cipher": "TLS13_AES_128_GCM_SHA256", "group": "X25519", "key": "ECDSA P-256"}


@dataclass(frozen=True)
class Measure:
    """One row of the plan. `count` is the total, or the bytes of each connection for bulk transfers."""

    name: str
    title: str
    unit: str
    mode: str
    mutual: bool
    count: int
    quick: int
    connections: int
    groups: tuple = ("http",)
    # Handfast's goal as a ratio, and which server it is against (None: the best peer).
    goal: float = None
    against: str = None


BOTH = ("http", "tcp")
MS, S, S_GB, KB = "CPU-ms per 1,000 requests", "CPU-s per 1,000", "CPU-s per GB", "KB per connection"
MEASURES = [
    Measure("h1", "1 KB requests, HTTP/1.1 keep-alive, one-way TLS", MS, "h1", False, 20_000, 5_000, 16,
            goal=1.0, against="nginx"),
    Measure("h1-mutual", "1 KB requests, HTTP/1.1 keep-alive, mutual TLS", MS, "h1", True, 20_000, 5_000, 16, BOTH,
            goal=1.0, against="nginx"),
    Measure("h2", "1 KB requests, HTTP/2, one-way TLS", MS, "h2", False, 20_000, 5_000, 8, goal=1.0, against="nginx"),
    Measure("h2-mutual", "1 KB requests, HTTP/2, mutual TLS", MS, "h2", True, 20_000, 5_000, 8,
            goal=1.0, against="nginx"),
    Measure("down-1", "download, one connection", S_GB, "bulk-down", False, GB, GB // 4, 1, BOTH, goal=0.85),
    Measure("down-8", "download, eight connections", S_GB, "bulk-down", False, GB // 8, GB // 32, 8, BOTH, goal=0.85),
    Measure("up-1", "upload, one connection", S_GB, "bulk-up", False, GB, GB // 4, 1, BOTH, goal=0.85),
    Measure("full", "full handshakes, one-way TLS", S, "handshake", False, 2_000, 500, 8),
    Measure("full-mutual", "full handshakes, mutual TLS", S, "handshake", True, 2_000, 500, 8, BOTH, goal=0.85),
    Measure("resumed", "resumed handshakes, one-way TLS", S, "resumed", False, 2_000, 500, 8),
    Measure("resumed-mutual", "resumed handshakes, mutual TLS", S, "resumed", True, 2_000, 500, 8),
    Measure("idle", "memory of an idle mutual-TLS connection", KB, "idle", True, 2_000, 1_000, 16, BOTH, goal=0.5),
]


@dataclass
class Result:
    """What one measurement gave."""

    value: float
    wall: float
    latency: dict
    tls: dict
    base_kb: float = None


class Load:
    """A load client that is told when to go."""

    def __init__(self, what, command):
        self.what = what
        self.child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)

    @classmethod
    def against(cls, client, pki, server, measure, count, limit):
        """The load client against one server of this machine."""
        command = [
            client, measure.mode, "--target", f"127.0.0.1:{server.port(measure.mutual)}", "--ca", pki / "ca.crt",
            "--connections", measure.connections, "--count", count, "--limit-seconds", limit,
        ]
        if measure.mutual:
            command += ["--cert", pki / "client.crt", "--key", pki / "client.key"]
        return cls(f"{server.name}, {measure.name}", command)

    def line(self):
        """The next JSON line of the client, which bounds its own time."""
        text = self.child.stdout.readline()
        if not text:
            raise Failure(f"{self.what}: the load client said nothing: {self.child.stderr.read()[-2000:]}")
        document = json.loads(text)
        if document.get("errors"):
            raise Failure(f"{self.what}: {document['first_error']}")
        return document

    def go(self):
        """Lets the prepared load run; its outcome."""
        self.child.stdin.write("go\n")
        self.child.stdin.flush()
        return self.line()

    def end(self):
        """Ends the client, whatever became of it."""
        self.child.stdin.close()
        try:
            self.child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()
        self.child.stderr.close()


def check(report, measure, server, count):
    """Every run must be complete, and must have negotiated what all others do."""
    tls = report["tls"] or {}
    wanted = dict(EXPECTED, mutual=measure.mutual)
    if server.group == "http":
        wanted["alpn"] = "h2" if measure.mode == "h2" else "http/1.1"
    different = {key: tls.get(key) for key, value in wanted.items() if tls.get(key) != value}
    if different:
        raise Failure(f"{server.name}, {measure.name}: negotiated {different} instead of {wanted}")
    bulk = measure.mode.startswith("bulk")
    done = report["bytes"] if bulk else report["completed"]
    if done != (count * measure.connections if bulk else count):
        raise Failure(f"{server.name}, {measure.name}: {done} done of {count}")


def per_unit(measure, cost, report):
    """The cost in CPU seconds as the measure's unit."""
    if measure.unit == MS:
        return cost * 1e6 / report["completed"]
    if measure.unit == S:
        return cost * 1e3 / report["completed"]
    return cost * GB / report["bytes"]


def cpu(client, pki, server, measure, count, limit):
    """A measurement of CPU time, read around the load and nothing else."""
    load = Load.against(client, pki, server, measure, count, limit)
    try:
        load.line()
        clock = CpuClock(server.process.pid)
        report = load.go()
        cost = clock.elapsed()
    finally:
        load.end()
    check(report, measure, server, count)
    return Result(per_unit(measure, cost, report), report["seconds"], report["latency_us"], report["tls"])


def memory(client, pki, server, measure, count, limit, settle):
    """A measurement of memory: a server that has seen a few connections, and with `count` idle ones."""
    warm = Load.against(client, pki, server, measure, 32, limit)
    try:
        warm.line()
        warm.go()
    finally:
        warm.end()
    time.sleep(settle)
    base = proportional_memory(server.process.pid)
    load = Load.against(client, pki, server, measure, count, limit)
    try:
        load.line()
        time.sleep(settle)
        full = proportional_memory(server.process.pid)
        report = load.go()
    finally:
        load.end()
    check(report, measure, server, count)
    return Result((full - base) / 1024 / count, report["seconds"], report["latency_us"], report["tls"], base / 1024)


def refuses_without_certificate(client, pki, server):
    """The mutual listener must refuse a client that has none, or "mutual" would mean nothing."""
    measure = Measure("refusal", "", MS, "h1", False, 1, 1, 1)
    command = [client, "h1", "--target", f"127.0.0.1:{server.mutual}", "--ca", pki / "ca.crt", "--now",
               "--connections", "1", "--count", "1", "--limit-seconds", "10"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=20, check=False)
    report = json.loads(done.stdout.splitlines()[-1])
    reason = report["first_error"] or ""
    if not report["errors"] or not any(sign in reason for sign in ("alert", "status: 40", "closed", "reset")):
        raise Failure(f"{server.name} did not refuse a client without a certificate ({measure.name}): {reason}")
    return reason

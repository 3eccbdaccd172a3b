"""Tests of the driver: `python3 -m unittest discover -s bench -p tests.py -t bench`."""

import os
import re
import subprocess
import sys
import time
import unittest

from driver import measures, processes, results, servers


def result(value):
    """A measurement that only has a value."""
    tls = dict(measures.EXPECTED, mutual=True)
    return measures.Result(value, 1.0, {"p50": 1000, "p99": 2000}, tls)


class Cost(unittest.TestCase):
    """Reading /proc."""

    def test_cpu_time_counts_the_work_of_children(self):
        burn = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ninput()"
        code = f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {burn!r}], " \
               "stdin=subprocess.PIPE); print(flush=True); sys.stdin.readline(); child.communicate(b'x\\n')"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            clock = processes.CpuClock(child.pid)
            end = time.monotonic() + 20
            while clock.elapsed() < 0.25 and time.monotonic() < end:
                time.sleep(0.05)
            self.assertGreaterEqual(clock.elapsed(), 0.25)
            child.communicate(b"\n")

    def test_memory_is_that_of_the_whole_family(self):
        self.assertGreater(processes.proportional_memory(os.getpid()), 1_000_000)
        self.assertIn(os.getpid(), processes.descendants(os.getpid()))


class Units(unittest.TestCase):
    """CPU seconds into units."""

    def test_units(self):
        plan = {measure.name: measure for measure in measures.MEASURES}
        report = {"completed": 2000, "bytes": 500_000_000}
        self.assertAlmostEqual(measures.per_unit(plan["h1"], 0.05, report), 25)
        self.assertAlmostEqual(measures.per_unit(plan["full"], 0.5, report), 0.25)
        self.assertAlmostEqual(measures.per_unit(plan["down-1"], 0.5, report), 1.0)

    def test_three_significant_figures(self):
        shown = [results.number(value) for value in (0, 0.12345, 1.2345, 22.62, 141.4)]
        self.assertEqual(shown, ["0", "0.123", "1.23", "22.6", "141"])


class Checks(unittest.TestCase):
    """What voids a run."""

    def setUp(self):
        self.measure = next(one for one in measures.MEASURES if one.name == "full-mutual")
        self.server = type("Server", (), {"name": "peer", "group": "http"})
        self.report = {"completed": 10, "bytes": 10, "tls": dict(measures.EXPECTED, mutual=True, alpn="http/1.1")}

    def test_a_run_as_agreed_passes(self):
        measures.check(self.report, self.measure, self.server, 10)

    def test_any_difference_fails(self):
        for key, other in [("version", "TLSv1_2"), ("cipher", "TLS13_AES_256_GCM_SHA384"), ("group", "secp256r1"),
                           ("key", "RSA"), ("alpn", ""), ("mutual", False)]:
            report = dict(self.report, tls=dict(self.report["tls"], **{key: other}))
            with self.assertRaisesRegex(processes.Failure, key):
                measures.check(report, self.measure, self.server, 10)

    def test_an_incomplete_run_fails(self):
        with self.assertRaisesRegex(processes.Failure, "10 done of 11"):
            measures.check(self.report, self.measure, self.server, 11)


class Tables(unittest.TestCase):
    """What is written."""

    def test_ratio_is_of_medians_to_the_best_peer(self):
        measure = next(one for one in measures.MEASURES if one.name == "full-mutual")
        runs = {("full-mutual", "handfast"): [result(0.4), result(0.5), result(9)],
                ("full-mutual", "envoy"): [result(1.0)], ("full-mutual", "nginx"): [result(2.0)]}
        text = "\n".join(results.table(runs, measure, "http", lambda name: "http"))
        self.assertIn("| **handfast** | 0.500 | 0.400 - 9.00 | 0.50 |", text)
        self.assertIn("| nginx | 2.00 | 2.00 - 2.00 | 2.00 |", text)
        row = results.goal_rows(runs, [measure], ["http"], lambda name: "http")[0]
        self.assertIn("0.50 | <= 0.85 x best: met |", row)

    def test_a_missed_goal_says_so(self):
        measure = next(one for one in measures.MEASURES if one.name == "h1")
        runs = {("h1", "handfast"): [result(30)], ("h1", "nginx"): [result(20)], ("h1", "haproxy"): [result(10)]}
        row = results.goal_rows(runs, [measure], ["http"], lambda name: "http")[0]
        self.assertIn("| 3.00 | <= 1.00 x nginx: missed (1.50) |", row)


class Configurations(unittest.TestCase):
    """The peers' configurations."""

    def test_every_placeholder_is_known(self):
        known = {"RUN", "PKI", "NAME", "WORKERS", "BACKEND", "BACKEND_PORT"}
        known |= set(servers.PORTS) | {f"{port}_PORT" for port in servers.PORTS}
        for _, _, template in servers.SERVERS.values():
            text = (servers.HERE / "peers" / template).read_text()
            self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", text)), known, template)


if __name__ == "__main__":
    unittest.main()

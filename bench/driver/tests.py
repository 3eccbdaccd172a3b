"""Tests of the driver: `python3 -m unittest discover -s bench -p tests.py -t bench`."""

import os
import re
import subprocess
import sys
import time
import unittest

from driver import kubernetes, measures, mesh, mesh_measures, mesh_results, plane, processes, results, servers


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


class Kubernetes(unittest.TestCase):
    """What is read of the API server and the audit log, and the section that is written."""

    METRICS = """\
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 10
apiserver_request_total{code="404",component="apiserver",dry_run="",group="",resource="secrets",scope="resource",subresource="",verb="GET",version="v1"} 5
apiserver_request_total{code="200",group="handfast.dev",resource="certificates",subresource="status",verb="APPLY",version="v1"} 7
apiserver_request_total{code="200",group="handfast.dev",resource="certificates",subresource="",verb="LIST",version="v1"} 99
apiserver_request_total{code="200",group="handfast.dev",resource="certificates",subresource="",verb="GET",version="v1"} 99
apiserver_request_total{code="200",group="",resource="events",subresource="",verb="POST",version="v1"} 99
apiserver_request_duration_seconds_count{group="",resource="secrets",verb="GET"} 99
"""

    def phase(self, seconds):
        return kubernetes.Phase(seconds, 2.0, 50.0, 40.0, {"GET secrets": 1.0, "POST events": 1.5})

    def test_requests_are_summed_over_codes_and_only_the_controllers_count(self):
        self.assertEqual(kubernetes.requests(self.METRICS), {"GET secrets": 15, "APPLY certificates/status": 7})

    def test_requests_for_one_certificate(self):
        each = kubernetes.per_certificate({"GET secrets": 10.0}, {"GET secrets": 30.0, "POST events": 5.0}, 10)
        self.assertEqual(each, {"GET secrets": 2.0, "POST events": 0.5})
        self.assertEqual(kubernetes.per_certificate({"GET secrets": 3.0}, {"GET secrets": 3.0}, 10), {})

    def test_what_was_discarded_was_not_issued_and_half_a_line_is_none(self):
        log = '{"action":"issue"}\n{"action":"renew"}\n{"action":"discard"}\n{"action":"deny"}\n{"action":"iss'
        self.assertEqual(kubernetes.issued(log), 1)

    def test_only_the_pods_are_left_out(self):
        text = "kind: Service\n---\nkind: Deployment\nmetadata: {}\n---\nkind: Role\nabout: Deployment\n"
        left = kubernetes.without_deployment(text)
        self.assertIn("Service", left)
        self.assertIn("Role", left)
        self.assertNotIn("metadata", left)

    def test_every_secret_is_named_once(self):
        text = kubernetes.rights("shop", 2500)
        self.assertEqual(text.count("kind: Role\n"), 3)
        names = [name for group in re.findall(r"resourceNames: \[([^]]*)]", text) for name in group.split(", ")]
        self.assertEqual(sorted(names), sorted(f"c{i}" for i in range(2500)))
        self.assertEqual(kubernetes.objects("shop", 3, "90d").count("kind: Certificate"), 3)

    def test_a_section_has_medians_and_extremes_and_replaces_its_own_only(self):
        gathered = {1000: [(self.phase(1.0), self.phase(9.0)), (self.phase(2.0), self.phase(8.0)),
                           (self.phase(4.0), self.phase(7.0))], 10000: []}
        text = kubernetes.section(gathered, {10000: "too slow"}, ["a fact"])
        self.assertIn("| 1,000 issued | 3 | 2.00 (1.00 - 4.00) | 2.00 (2.00 - 2.00) | 2.00", text)
        self.assertIn("10,000 Certificates: not measured: too slow", text)
        self.assertIn("is renewed: GET secrets 1.00, POST events 1.50.", text)
        once = results.replaced("# Results\n\nfirst\n", kubernetes.HEADING, text)
        twice = results.replaced(once, kubernetes.HEADING, text.replace("a fact", "another fact"))
        self.assertEqual(twice.count(kubernetes.HEADING), 1)
        self.assertTrue(twice.startswith("# Results\n\nfirst\n\n") and "another fact" in twice)
        between = results.replaced(once + "\n## Last\n\nend\n", kubernetes.HEADING, text)
        self.assertTrue(between.endswith("\n## Last\n\nend\n"), between)
        self.assertEqual(results.kept(once, kubernetes.HEADING), text)
        self.assertEqual(results.kept("# Results\n", kubernetes.HEADING), "")


class Mesh(unittest.TestCase):
    """What is read of the mesh's proxies, and the section that is written."""

    OURS = """\
# TYPE handfast_mesh_connections counter
handfast_mesh_connections_total{direction="outbound",source="spiffe://a/{b}",destination="",service="s",secured="hbone",reason=""} 7
handfast_mesh_connections_total{direction="outbound",source="x",destination="",service="t",secured="hbone",reason=""} 2
handfast_mesh_connections_total{direction="outbound",source="x",destination="",service="",secured="plain",reason="no_workload"} 3
handfast_mesh_connections_total{direction="inbound",source="x",destination="",service="",secured="none",reason="denied"} 1
handfast_mesh_connection_duration_seconds_count{direction="outbound"} 99
"""
    THEIRS = """\
istio_tcp_connections_opened_total{reporter="source",connection_security_policy="mutual_tls"} 5
istio_tcp_connections_opened_total{reporter="destination",connection_security_policy="unknown"} 4
istio_tcp_connections_closed_total{reporter="source",connection_security_policy="mutual_tls"} 9
"""

    def test_connections_are_told_apart_by_how_they_were_secured(self):
        self.assertEqual(mesh_measures.secured(self.OURS, "handfast", "outbound"), (9, 3))
        self.assertEqual(mesh_measures.secured(self.OURS, "handfast", "inbound"), (0, 1))
        self.assertEqual(mesh_measures.secured(self.THEIRS, "ztunnel", "outbound"), (5, 0))
        self.assertEqual(mesh_measures.secured(self.THEIRS, "ztunnel", "inbound"), (0, 4))
        self.assertEqual(mesh_measures.secured("", "handfast", "inbound"), (0, 0))

    def way(self, texts):
        side = type("Side", (), {"name": "pod", "fetch": lambda self, url: texts.pop(0) if len(texts) > 1 else texts[0]})()
        side.carrier = os.getpid()
        return mesh.Way("handfast", side, side, "127.0.0.1:1")

    def test_a_run_that_went_another_way_fails(self):
        grown = self.OURS.replace("} 2\n", "} 12\n")
        inbound = 'handfast_mesh_connections_total{direction="inbound",secured="hbone"} 10\n'
        both = grown + inbound
        before = [(9, 3), (0, 1)]
        mesh_measures.check_secured(self.way([both]), before, 10, "new", 0)
        for expected, text in [(9, both), (11, both), (10, grown), (10, both.replace("} 3\n", "} 4\n")),
                               (10, both.replace('"denied"} 1', '"denied"} 2'))]:
            with self.assertRaisesRegex(processes.Failure, "counted by mutual TLS"):
                mesh_measures.check_secured(self.way([text]), before, expected, "new", 0)

    def test_connections_that_are_counted_late_are_waited_for(self):
        late = self.OURS + 'handfast_mesh_connections_total{direction="inbound",secured="hbone"} 1\n'
        late = late.replace("} 7\n", "} 8\n")
        mesh_measures.check_secured(self.way([self.OURS, self.OURS, late]), [(9, 3), (0, 1)], 1, "new", 5)

    def test_every_connection_of_a_load_is_expected(self):
        plan = {measure.name: measure for measure in mesh_measures.PLAN}
        expected = {name: mesh_measures.opened(measure, measure.count) for name, measure in plan.items()}
        self.assertEqual(expected["down-64"], 64)
        self.assertEqual(expected["new"], 3_000 + 8 * 5)
        self.assertEqual(expected["idle"], 1_000)
        self.assertEqual(expected[mesh_measures.OPEN], 16)

    def test_every_transfer_is_of_about_the_same_size(self):
        sizes = [one.count * one.connections for one in mesh_measures.PLAN if one.mode.startswith("bulk")]
        self.assertEqual(set(sizes), {1_000_000_000})

    def test_an_incomplete_run_fails(self):
        down = next(one for one in mesh_measures.PLAN if one.name == "down-8")
        way = type("Way", (), {"name": "relay"})
        mesh_measures.check({"bytes": 800, "completed": 8}, down, way, 100)
        with self.assertRaisesRegex(processes.Failure, "700 done"):
            mesh_measures.check({"bytes": 700, "completed": 8}, down, way, 100)

    def test_the_direct_way_leads_past_the_relay_of_its_pods(self):
        side = type("Side", (), {"carrier": 7})
        self.assertEqual(mesh.Way("direct", side, side, "").carriers, [])
        self.assertEqual(mesh.Way("relay", side, side, "").carriers, [7, 7])

    @staticmethod
    def runs(*values, p50=1000):
        return [mesh_measures.Result(value, 1.0, {"p50": p50, "p99": 4000}, 0.1) for value in values]

    def gathered(self):
        return {("down-1", "handfast"): self.runs(1.0, 1.2, 9.0), ("down-1", "ztunnel"): self.runs(2.0),
                ("down-1", "relay"): self.runs(0.4), ("down-1", "direct"): self.runs(None),
                ("down-64", "handfast"): self.runs(1.5),
                (mesh_measures.OPEN, "direct"): self.runs(None, None, p50=300),
                (mesh_measures.OPEN, "relay"): self.runs(1, 1, p50=500),
                (mesh_measures.OPEN, "handfast"): self.runs(1, 1, p50=540)}

    def test_goals_are_of_medians(self):
        idle = {"handfast": [mesh_measures.Idle([7.0, 9.0], [1.0, 2.0])]}
        flow, many, latency, memory = mesh_results.goals(self.gathered(), idle, 1000)
        self.assertIn("| 1.20 | 2.00 (ztunnel) | 0.600 | <= 0.7: met |", flow)
        self.assertIn("| 1.50 | 1.20 (handfast, one flow) | 1.25 | <= 1.05: missed |", many)
        self.assertIn("| 0.240 | 0.200 (relay) | 1.20 | <= 1.4: met |", latency)
        self.assertIn("| 9.00 | - | - | <= 8 MiB: missed |", memory)

    def test_without_a_ztunnel_its_goal_is_not_decided(self):
        gathered = {key: runs for key, runs in self.gathered().items() if key[1] != "ztunnel"}
        self.assertIn("| 1.20 | - | - | not measured: no ztunnel", mesh_results.goals(gathered, {}, 1000)[0])
        gathered[(mesh_measures.OPEN, "relay")] = self.runs(1, 1, p50=290)
        self.assertIn("undecided", mesh_results.goals(gathered, {}, 1000)[2])

    def test_only_a_release_build_meets_or_misses_a_goal(self):
        idle = {"handfast": [mesh_measures.Idle([7.0, 9.0], [1.0, 2.0])]}
        for line in mesh_results.goals(self.gathered(), idle, 1000, "debug"):
            self.assertRegex(line, r"not judged \(debug build\) \|$")

    def test_a_section_tells_every_way_beside_the_others(self):
        idle = {"handfast": [mesh_measures.Idle([7.0, 6.0], [1.0, 2.0])]}
        ways = ["direct", "relay", "handfast", "ztunnel"]
        text = mesh_results.section(self.gathered(), idle, mesh_measures.PLAN, ways, 1000, ["a fact"])
        self.assertTrue(text.startswith(mesh_results.HEADING + "\n"))
        self.assertIn("| **handfast** | 1.20 (1.00 - 9.00) | 3.00 | 0.600 | 0.100 | 1.00 | 1.00 / 4.00 |", text)
        self.assertIn("| nobody (direct) | - | - | - | 0.100 | 1.00 | 1.00 / 4.00 |", text)
        self.assertIn("| plain relay, two hops | 0.200 (0.200 - 0.200) | - |", text)
        self.assertIn("| **handfast** | 7.00 | 6.00 | 1.00 / 2.00 |", text)
        self.assertNotIn("upload", text)
        document = results.replaced("# R\n\n" + kubernetes.HEADING + "\n\nours\n", mesh_results.HEADING, text)
        self.assertEqual(results.kept(document, kubernetes.HEADING), kubernetes.HEADING + "\n\nours\n")
        self.assertEqual(results.kept(document, mesh_results.HEADING), text)

    def test_many_services_are_of_different_names_and_addresses(self):
        found = mesh.services("many", 1000)
        names = [one["metadata"]["name"] for one in found if one["kind"] == "Service"]
        self.assertEqual(len(set(names)), 1000)
        slices = [one for one in found if one["kind"] == "EndpointSlice"]
        addresses = [end["addresses"][0] for one in slices for end in one["endpoints"]]
        self.assertEqual((len(slices), len(set(addresses))), (mesh.SLICES, mesh.SLICES * 3))

    def test_all_that_carry_are_limited_alike(self):
        relay = next(one for one in mesh.relay("client", "n", ":1", "a:2") if one["kind"] == "Pod")["spec"]["containers"][1]
        tunnel = next(one for one in mesh.ztunnel("z", "n") if one["kind"] == "Pod")["spec"]["initContainers"][1]
        for container in (relay, tunnel):
            self.assertEqual(container["resources"], mesh.RESOURCES)
            self.assertEqual(container["securityContext"]["seccompProfile"], mesh.SECCOMP)


class ControlPlane(unittest.TestCase):
    """Changes that reach many proxies."""

    def test_percentiles_are_nearest_rank(self):
        self.assertEqual(plane.rank(range(200, 0, -1), 99), 198)
        self.assertEqual(plane.rank([7], 99), 7)
        self.assertEqual(plane.rank(range(1, 101), 50), 50)

    def test_a_change_is_timed_from_before_it_is_asked_for(self):
        proxies = plane.Proxies.__new__(plane.Proxies)
        proxies.child = type("Child", (), {"stdin": open(os.devnull, "w", encoding="ascii")})()
        said = [{"armed": True}]
        proxies.line = lambda: said.pop(0)

        def change():
            self.assertEqual(said, [], "proxies are listened to before anything changes")
            time.sleep(0.02)
            said.append({"applied_ns": [time.time_ns() + 5_000_000]})

        seen = proxies.see(change)
        proxies.child.stdin.close()
        self.assertTrue(4 <= seen.written[0] <= 15, seen)
        self.assertTrue(24 <= seen.asked[0] <= 50, seen)

    def test_goals_are_of_all_proxies_and_changes(self):
        good = plane.row(2, 1.5, [plane.Change([10, 20], [5, 15]), plane.Change([30, 40], [25, 35])], 0.5, 149, 200)
        self.assertEqual(good, "| 2 | 1.50 | 25.0 | 40.0 (met) | 30.0 (20.0 - 40.0) | 35.0 | 250 | 149 (met) | 200 |")
        bad = plane.row(2, 1.5, [plane.Change([10, 51], [5, 15])], 0.5, 151, 200)
        self.assertIn("51.0 (missed)", bad)
        self.assertIn("151 (missed)", bad)
        text = plane.section([good], {2000: "too slow"}, ["a fact"])
        self.assertTrue(text.startswith(plane.HEADING + "\n") and good in text)
        self.assertIn("2,000 proxies: not measured: too slow", text)

    def test_the_meshs_section_is_not_taken_for_the_control_planes(self):
        document = f"# R\n\n{plane.HEADING}\n\nplane\n\n{mesh_results.HEADING}\n\nmesh\n"
        self.assertEqual(results.kept(document, mesh_results.HEADING), mesh_results.HEADING + "\n\nmesh\n")
        changed = results.replaced(document, mesh_results.HEADING, mesh_results.HEADING + "\n\nnew\n")
        self.assertIn("\n\nplane\n", changed)
        self.assertNotIn("\nmesh\n", changed)

    def test_every_pod_has_an_address_and_a_service(self):
        addresses = {plane.status(index)["status"]["podIP"] for index in range(2000)}
        self.assertEqual(len(addresses), 2000)
        apps = {plane.pod(index)["metadata"]["labels"]["app"] for index in range(2000)}
        self.assertEqual(apps, {plane.service(index)["spec"]["selector"]["app"] for index in range(1000)})


if __name__ == "__main__":
    unittest.main()

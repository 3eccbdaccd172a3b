"""From the mesh's measurements to its section of bench/RESULTS.md."""

import statistics

from driver.mesh_measures import OPEN
from driver.results import number, spread

HEADING = "## The mesh"
TITLES = {"direct": "nobody (direct)", "relay": "plain relay, two hops", "handfast": "**handfast**", "ztunnel": "ztunnel"}
FLOW_GOAL, MANY_GOAL, ADDED_GOAL, IDLE_GOAL = 0.7, 1.05, 1.4, 8.0


def median(gathered, measure, way):
    """The middle of a way's values, or nothing."""
    values = [run.value for run in gathered.get((measure, way), []) if run.value is not None]
    return statistics.median(values) if values else None


def added(gathered, way, key):
    """Latency that a way adds to the direct one, in ms, round by round."""
    pairs = zip(gathered.get((OPEN, way), []), gathered.get((OPEN, "direct"), []))
    return [(run.latency[key] - direct.latency[key]) / 1000 for run, direct in pairs]


def verdict(value, goal, build="release"):
    """Whether a figure is within its goal. Only a release build can meet or miss one."""
    if build != "release":
        return f"not judged ({build} build)"
    return "met" if value <= goal else "missed"


def ratio_row(what, ours, theirs, goal, against, absent, build):
    """One goal that is a ratio."""
    if ours is None or theirs is None:
        return f"| {what} | {'-' if ours is None else number(ours)} | - | - | not measured: {absent} |"
    if theirs <= 0:
        return f"| {what} | {number(ours)} | {number(theirs)} | - | undecided: nothing to compare with |"
    return (f"| {what} | {number(ours)} | {number(theirs)} ({against}) | {number(ours / theirs)} "
            f"| <= {goal:g}: {verdict(ours / theirs, goal, build)} |")


def goals(gathered, idle, services, build="release"):
    """Every goal, met or missed."""
    one, many = median(gathered, "down-1", "handfast"), median(gathered, "down-64", "handfast")
    rows = [
        ratio_row("CPU-s per GB, one flow", one, median(gathered, "down-1", "ztunnel"), FLOW_GOAL, "ztunnel",
                  "no ztunnel (ZTUNNEL_BIN)", build),
        ratio_row("CPU-s per GB, 64 flows", many, one, MANY_GOAL, "handfast, one flow", "left out", build),
    ]
    ours, theirs = added(gathered, "handfast", "p50"), added(gathered, "relay", "p50")
    middle = [statistics.median(values) if values else None for values in (ours, theirs)]
    rows.append(ratio_row("added p50 at the fixed rate, ms", *middle, ADDED_GOAL, "relay", "left out", build))
    if idle.get("handfast"):
        largest = statistics.median(max(one.pss) for one in idle["handfast"])
        rows.append(f"| idle proxy at {services:,} services, MiB of PSS | {number(largest)} | - | - "
                    f"| <= {IDLE_GOAL:g} MiB: {verdict(largest, IDLE_GOAL, build)} |")
    return rows


def table(gathered, measure, ways):
    """One measure."""
    if not any(gathered.get((measure.name, way)) for way in ways):
        return []
    relay, zt = (median(gathered, measure.name, way) for way in ("relay", "ztunnel"))
    lines = [f"### {measure.title}", "",
             f"| carried by | {measure.unit}, both proxies | x relay | x ztunnel | backend's own | wall, s | p50 / p99, ms |",
             "|---|---|---|---|---|---|---|"]
    for way in ways:
        runs = gathered.get((measure.name, way), [])
        if not runs:
            continue
        value = median(gathered, measure.name, way)
        cell = "-" if value is None else spread([run.value for run in runs])
        ratios = [number(value / other) if value is not None and other and way != name else "-"
                  for name, other in (("relay", relay), ("ztunnel", zt))]
        backend = "-" if runs[0].backend is None else number(statistics.median(run.backend for run in runs))
        latency = "-"
        if runs[0].latency:
            latency = " / ".join(number(statistics.median(run.latency[key] for run in runs) / 1000)
                                 for key in ("p50", "p99"))
        lines.append(f"| {TITLES[way]} | {cell} | {' | '.join(ratios)} | {backend} "
                     f"| {number(statistics.median(run.wall for run in runs))} | {latency} |")
    return lines + [""]


def latencies(gathered, ways):
    """What each way adds to a direct connection."""
    if not gathered.get((OPEN, "direct")):
        return []
    lines = ["### Added latency at the fixed rate", "",
             "| carried by | added p50, ms | x relay | added p99, ms | x relay |", "|---|---|---|---|---|"]
    for way in ways:
        if way == "direct":
            continue
        cells = []
        for key in ("p50", "p99"):
            values, relay = added(gathered, way, key), added(gathered, "relay", key)
            if not values:
                continue
            base = statistics.median(relay) if relay else 0
            ratio = number(statistics.median(values) / base) if base > 0 and way != "relay" else "-"
            cells += [spread(values), ratio]
        if cells:
            lines.append(f"| {TITLES[way]} | {' | '.join(cells)} |")
    return lines + [""]


def memory(idle, ways, services):
    """Proxies that have carried nothing yet."""
    lines = [f"### Idle proxies at {services:,} services", "",
             "| carried by | client's, MiB PSS | server's, MiB PSS | of these no file's (client's / server's) |",
             "|---|---|---|---|"]
    for way in ways:
        runs = idle.get(way, [])
        if runs:
            pss = [spread([run.pss[side] for run in runs]) for side in (0, 1)]
            anonymous = [number(statistics.median(run.anonymous[side] for run in runs)) for side in (0, 1)]
            lines.append(f"| {TITLES[way]} | {pss[0]} | {pss[1]} | {' / '.join(anonymous)} |")
    return lines + [""]


def section(gathered, idle, plan, ways, services, facts, build="release"):
    """The section of RESULTS.md."""
    lines = [HEADING, "",
             "Written by `bench/mesh`; how it measures is in [docs/benchmarks.md](../docs/benchmarks.md). CPU and memory are",
             "those of both proxies (or relays) of a pair of pods together. Medians, and extremes where there are several",
             "rounds; lower is better.", "", *(f"- {fact}" for fact in facts), "",
             "| goal | Handfast | compared with | ratio | |", "|---|---|---|---|---|", *goals(gathered, idle, services, build), ""]
    for measure in plan:
        lines += table(gathered, measure, ways)
    lines += latencies(gathered, ways) + memory(idle, ways, services)
    return "\n".join(lines).rstrip() + "\n"

"""From measurements to the table in bench/RESULTS.md."""

import datetime
import os
import platform
import statistics
from pathlib import Path


def machine():
    """Processor, cores, memory and kernel in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, Linux {platform.release()}"


def number(value):
    """Three significant figures."""
    if value == 0:
        return "0"
    digits = max(0, 2 - int(f"{abs(value):e}".partition("e")[2]))
    return f"{value:.{digits}f}"


def spread(values):
    """The median, and the extremes where there are several."""
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} - {number(max(values))})"


def medians(results, measure, group, kind_of):
    """server -> median, for the servers of a group that were measured."""
    return {name: statistics.median(result.value for result in runs)
            for (one, name), runs in results.items() if one == measure.name and kind_of(name) == group and runs}


def best_peer(values):
    """The name of the cheapest server that is not Handfast, or nothing."""
    peers = {name: value for name, value in values.items() if not name.startswith("handfast")}
    return min(peers, key=peers.get) if peers else None


def goal_rows(results, measures, groups, kind_of):
    """Handfast beside the best peer, measure by measure, with the goal where there is one."""
    rows = []
    for group in groups:
        for measure in measures:
            values = medians(results, measure, group, kind_of)
            best = best_peer(values)
            ours = next((value for name, value in values.items() if name.startswith("handfast")), None)
            if best is None or ours is None:
                continue
            goal = ""
            if measure.goal and group == "http":
                against = measure.against if measure.against in values else best
                ratio = ours / values[against]
                name = against if measure.against else "best"
                goal = f"<= {measure.goal:.2f} x {name}: {'met' if ratio <= measure.goal else f'missed ({ratio:.2f})'}"
            layer = "" if group == "http" else " (raw TCP)"
            rows.append(f"| {measure.title}{layer} | {measure.unit} | {number(ours)} | {number(values[best])} ({best}) "
                        f"| {ours / values[best]:.2f} | {goal} |")
    return rows


def table(results, measure, group, kind_of):
    """One measure's table, cheapest server first."""
    values = medians(results, measure, group, kind_of)
    if not values:
        return []
    best = best_peer(values)
    idle = measure.mode == "idle"
    layer = "" if group == "http" else " (raw TCP)"
    lines = [f"### {measure.title}{layer}", "",
             f"| server | {measure.unit}, median | min - max | x best peer | "
             f"{'base, MB' if idle else 'wall, s'} | p50 / p99, ms |",
             "|---|---|---|---|---|---|"]
    for name in sorted(values, key=values.get):
        runs = results[(measure.name, name)]
        low, high = min(run.value for run in runs), max(run.value for run in runs)
        ratio = f"{values[name] / values[best]:.2f}" if best else "-"
        other = statistics.median(run.base_kb / 1024 if idle else run.wall for run in runs)
        latency = "-"
        if runs[0].latency and not idle:
            latency = " / ".join(number(statistics.median(run.latency[key] for run in runs) / 1000)
                                 for key in ("p50", "p99"))
        shown = f"**{name}**" if name.startswith("handfast") else name
        lines.append(f"| {shown} | {number(values[name])} | {number(low)} - {number(high)} | {ratio} "
                     f"| {number(other)} | {latency} |")
    return lines + [""]


def document(results, measures, groups, kind_of, facts, absent):
    """The whole of RESULTS.md."""
    tls = next(run.tls for runs in results.values() for run in runs)
    lines = [
        "# Results of `make bench`", "",
        "Written by `bench/run`; how it measures is in [docs/benchmarks.md](../docs/benchmarks.md). Lower is better",
        "everywhere. CPU is that of the server's own processes: client, server and backend share the machine, so wall",
        "time and latencies only serve as a check.", "",
        f"- date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, "
        f"{facts['rounds']} interleaved round{'s' if facts['rounds'] != 1 else ''}"
        f"{', quick sizes' if facts['quick'] else ''}",
        f"- machine: {machine()}; load average at the start {facts['load_average']}",
        f"- negotiated in every run: {tls['version']}, {tls['cipher']}, {tls['group']}, {tls['key']}; no errors",
        f"- workers: {facts['workers']} each",
    ]
    lines += [f"- {name}: {version}" for name, version in facts["versions"].items()]
    rows = goal_rows(results, measures, groups, kind_of)
    if rows:
        lines += ["", "## Handfast beside the best peer", "",
                  "| measure | unit | Handfast | best peer | ratio | goal |", "|---|---|---|---|---|---|", *rows]
    lines += ["", "## Every measure", ""]
    for group in groups:
        for measure in measures:
            lines += table(results, measure, group, kind_of)
            lines += [f"{name}: not measured, it {why}.\n" for (one, name), why in absent.items()
                      if one == measure.name and kind_of(name) == group and (one, name) in results]
    return "\n".join(lines).rstrip() + "\n"


def replaced(document, heading, text):
    """A document with a section, which begins with `heading`, in the place of the one that it had, or at its end."""
    before, found, after = document.partition(heading + "\n")
    rest = after.partition("\n## ")
    tail = "\n## " + rest[2] if found and rest[1] else ""
    return before.rstrip("\n") + "\n\n" + text.rstrip("\n") + "\n" + tail


def kept(document, heading):
    """The section of an earlier document; empty where there is none."""
    _, found, after = document.partition(heading + "\n")
    return (heading + "\n" + after.partition("\n## ")[0]).rstrip("\n") + "\n" if found else ""

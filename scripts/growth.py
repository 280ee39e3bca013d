"""How time and memory of an outer iteration grow: with tasks, inner steps and image size.

    python scripts/growth.py --out outputs/growth
    python scripts/growth.py --implicit --out outputs/growth_implicit

Omniglot 20-way 1-shot MAML++ with one of the three changed at a time, and inner steps with and
without `algo.recompute`. Each point is a command of its own, run twice: for the median of its
iterations after the first, and for its peak memory. With `--implicit` it is the memory alone, by
inner steps, of MAML with and without `algo.recompute` and of iMAML on Omniglot 5-way 1-shot.
Writes growth.json and growth.png.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench_cases import CASES, batch_of
from bench_memory import watched
from bench_ours import our_step
from matplotlib.figure import Figure
from tabulate import tabulate

from maml_cli.reporting.results import environment

CASE = CASES["omniglot-20way-mamlpp"]
MAML = dataclasses.replace(CASES["omniglot-5way-mamlpp"], algo="maml", switches={})
RECOMPUTE = {"recompute": "true"}
CASES_OF = {
    "as is": CASE,
    "algo.recompute=true": dataclasses.replace(CASE, switches=CASE.switches | RECOMPUTE),
    "MAML": MAML,
    "MAML, algo.recompute=true": dataclasses.replace(MAML, switches=RECOMPUTE),
    "iMAML": dataclasses.replace(MAML, algo="imaml"),
}
"""What each line of the figure measures."""
TASKS, STEPS, SIDES, MORE_STEPS = (2, 8, 32), (1, 5, 20), (28, 56, 84), (1, 5, 20, 50)
POINTS = [
    *({"varied": "tasks", "value": n, "line": "as is"} for n in TASKS),
    *({"varied": "steps", "value": n, "line": a} for a in list(CASES_OF)[:2] for n in STEPS),
    *({"varied": "side", "value": n, "line": "as is"} for n in SIDES),
]
"""The image's side stands for its number of pixels, which is what the work is linear in."""
IMPLICIT = [
    {"varied": "steps", "value": n, "line": a} for a in list(CASES_OF)[2:] for n in MORE_STEPS
]
LABELS = {"tasks": "tasks per batch", "steps": "inner steps", "side": "pixels of an image"}
COLOURS = ("#0072B2", "#D55E00", "#009E73")
QUANTITIES = {"seconds": "seconds per iteration", "peak_gb": "peak memory, GB"}


def measure(varied: str, value: int, *, line: str, engine: str, iterations: int) -> float:
    """Seconds per iteration."""
    case = CASES_OF[line]
    changes = {
        "tasks": {"tasks": value},
        "steps": {"tasks": 2, "switches": case.switches | {"inner_steps": value}},
        "side": {"tasks": 2, "image": (1, value, value)},
    }
    case = dataclasses.replace(case, **changes[varied])
    _, step = our_step(case, engine)
    batch = batch_of(case)
    step(batch)
    seconds = []
    for _ in range(iterations):
        started = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def figure(points: list[dict]) -> Figure:
    """A column per varied number, a row per quantity."""
    labels = {varied: LABELS[varied] for varied in dict.fromkeys(p["varied"] for p in points)}
    quantities = {name: label for name, label in QUANTITIES.items() if name in points[0]}
    lines = list(dict.fromkeys(p["line"] for p in points))
    size = 1 + 3 * len(labels), 0.5 + 2.5 * len(quantities)
    chart = Figure(figsize=size, dpi=120, layout="constrained")
    panels = chart.subplots(len(quantities), len(labels), sharex="col", squeeze=False)
    for column, (varied, label) in enumerate(labels.items()):
        for line, colour in zip(lines, COLOURS, strict=False):
            own = [p for p in points if p["varied"] == varied and p["line"] == line]
            at = [p["value"] ** 2 if varied == "side" else p["value"] for p in own]
            for row, name in enumerate(quantities):
                panels[row, column].plot(
                    at, [p[name] for p in own], marker="o", color=colour, label=line
                )
        panels[-1, column].set_xlabel(label)
    for row, label in enumerate(quantities.values()):
        panels[row, 0].set_ylabel(label)
        for axes in panels[row]:
            axes.set_ylim(0, 1.1 * axes.dataLim.ymax)
            axes.spines[["top", "right"]].set_visible(False)
    panels[0, len(labels) // 2].legend(frameon=False)
    return chart


def main() -> None:
    """Measure every point; print and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--engine", default="auto", help="how tasks are computed (%(default)s)")
    parser.add_argument("--implicit", action="store_true", help="memory of MAML and iMAML")
    parser.add_argument("--out", type=Path, default=Path("outputs/growth"))
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        print(measure(**arguments.point, engine=arguments.engine, iterations=arguments.iterations))
        return
    rows = []
    for point in IMPLICIT if arguments.implicit else POINTS:
        command = [sys.executable, __file__, "--iterations", str(arguments.iterations)]
        command += ["--engine", arguments.engine, "--point", json.dumps(point)]
        time_of = {}
        if not arguments.implicit:  # not of the run that is watched: watching takes time
            timed = subprocess.run(command, capture_output=True, text=True, check=True)
            time_of["seconds"] = float(timed.stdout)
        rows.append(point | time_of | {"peak_gb": watched(command)})
        print(json.dumps(rows[-1]), file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {
        "points": rows,
        **dataclasses.asdict(environment(device="cpu", engine=arguments.engine)),
    }
    (arguments.out / "growth.json").write_text(json.dumps(record, indent=2) + "\n")
    figure(rows).savefig(arguments.out / "growth.png")
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".2f"))


if __name__ == "__main__":
    main()

"""Reptile's figure 3: validation accuracy by the inner gradients that make the outer step.

    python scripts/reptile_gradients.py RUN ... --out FILE.png

A line is named after its run's settings, such as `1/2 (g1 + g2)`. It is the mean of its seeds, with
their 95 % interval if there are several. `bash scripts/reproduce_reptile_gradients.sh` makes the
runs.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from tabulate import tabulate

from maml_cli.core.limits import CONFIG_BYTES
from maml_cli.core.regular_files import read_text
from maml_cli.core.stats import estimate
from maml_cli.core.yaml_text import read_mapping
from maml_cli.report.collect import collect
from maml_cli.report.history import History, history
from maml_cli.storage.run_folder import RunFolder

RATE = 0.25
"""The outer rate of a line whose gradients are not divided by their number."""


def name(folder: Path) -> str:
    """`g3`, `g1 + g2 + g3` or `1/3 (g1 + g2 + g3)`."""
    config = read_mapping(read_text(RunFolder(folder).config, CONFIG_BYTES))
    steps, rate = config["algo"]["inner_steps"], config["train"]["outer_lr"]
    if steps == 1 or config["algo"]["outer_gradients"] == "last":
        return f"g{steps}"
    total = " + ".join(f"g{step}" for step in range(1, steps + 1))
    return total if rate == RATE else f"1/{round(RATE / rate)} ({total})"


def figure(lines: dict[str, list[History]]) -> Figure:
    """A line for each name, by the mean over its seeds."""
    chart = Figure(figsize=(7.5, 4.5), dpi=120, layout="constrained")
    axes = chart.subplots()
    for line, seeds in lines.items():
        dash = "--" if line[1:].isdigit() else "-"
        done, values = seeds[0].iterations, over_seeds(seeds)
        means = [mean for mean, _ in values]
        axes.plot(done, means, dash, label=line)
        if len(seeds) > 1:
            low, high = ([mean + sign * ci95 for mean, ci95 in values] for sign in (-1, 1))
            axes.fill_between(done, low, high, alpha=0.12)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="iterations", ylabel="validation accuracy")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return chart


def over_seeds(seeds: Sequence[History]) -> list[tuple[float, float]]:
    """Mean and half the 95 % interval after each epoch; nan for a single seed."""
    columns = zip(*(seed.metric for seed in seeds), strict=True)
    if len(seeds) == 1:
        return [(value, np.nan) for (value,) in columns]
    return [(e.mean, e.ci95) for e in map(estimate, columns)]


def main() -> None:
    """Draw, and print the last values."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    arguments = parser.parse_args()
    lines: dict[str, list[History]] = defaultdict(list)
    for run in collect(arguments.runs).runs:
        if (found := history(run)) is not None:
            lines[name(run.folder)].append(found)
    lines = dict(sorted(lines.items(), key=lambda line: line[1][-1].metric[-1], reverse=True))
    rows = []
    for line, seeds in lines.items():
        mean, ci95 = over_seeds(seeds)[-1]
        shown = f"{mean:.1%}" if np.isnan(ci95) else f"{mean:.1%} ± {ci95:.1%}"
        rows.append((line, f"{seeds[0].iterations[-1]:,}", len(seeds), shown))
    print(tabulate(rows, ["gradients", "iterations", "seeds", "validation"], tablefmt="github"))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure(lines).savefig(arguments.out)


if __name__ == "__main__":
    main()

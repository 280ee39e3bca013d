"""Error of curves after 0 to 20 support points, for trained runs on the same test tasks.

    python scripts/support_points.py outputs/sinusoid/maml/NAME ... --out outputs/support_points

Every run sees the first k points of the same support sets. Learners with inner steps take as many
as the run's `eval.inner_steps`, and none without a point. Writes support_points.json and .png.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tabulate import tabulate
from torch import Tensor

from maml_cli.commands.evaluate import CHANGEABLE
from maml_cli.config.trained import trained_experiment
from maml_cli.core.errors import UserError
from maml_cli.core.stats import Estimate, estimate
from maml_cli.core.types import Episode, Evaluation
from maml_cli.runs.assembly import assemble
from maml_cli.runs.devices import choose_device
from maml_cli.runs.trained import load_trained

QUERIES = 100
TOP = 3
"""The axis ends at so many times the largest error without support points."""


def first(episodes: Episode, points: int) -> Episode:
    """The same tasks with fewer support points."""
    return episodes._replace(
        support_x=episodes.support_x[:, :points], support_y=episodes.support_y[:, :points]
    )


def of_run(folder: Path, points: int, episodes: int) -> tuple[str, list[Estimate]]:
    """A run's name, and its squared error after 0, 1 ... points over test tasks."""
    asked = [f"shots={points}", f"queries={QUERIES}", "engine=loop"]
    experiment = trained_experiment(folder, asked, changeable=CHANGEABLE, others=(), command="")
    device = choose_device("cpu")
    source = experiment.dataset.load(experiment.run, device)
    parts = assemble(experiment, source, device)
    [params, *_] = load_trained(folder, experiment, source.objective, device).candidates
    tasks = source.episodes("test", 0, episodes)

    def error(count: int) -> Tensor:
        steps = parts.steps if count else 0
        seen = tasks if steps == 0 and parts.steps else first(tasks, count)
        evaluation = Evaluation((steps,), experiment.eval.bn_stats)
        outputs = source.objective.combine(parts.engine.predict(params, seen, evaluation))
        return source.objective.metric(outputs[:, 0], tasks.query_y)

    name = f"{experiment.algo.name}, {parts.steps} steps" if parts.steps else experiment.algo.name
    return name, [estimate(error(count)) for count in range(points + 1)]


def figure(curves: dict[str, list[Estimate]]) -> Figure:
    """A line with its 95 % band for each run, on a logarithmic scale."""
    chart = Figure(figsize=(6.5, 4), dpi=120, layout="constrained")
    axes = chart.subplots()
    for name, course in curves.items():
        places = range(len(course))
        axes.plot(places, [e.mean for e in course], marker="o", label=name)
        low, high = ([e.mean + sign * e.ci95 for e in course] for sign in (-1, 1))
        axes.fill_between(places, low, high, alpha=0.2)
    axes.set(xlabel="support points", ylabel="mean squared error", yscale="log")
    means = np.array([[e.mean for e in course] for course in curves.values()])
    axes.set_ylim(top=TOP * float(np.nanmax(means[:, 0])))
    if hidden := int(np.sum(~(means < axes.get_ylim()[1]))):
        axes.set_title(f"{hidden} means of runs that diverged lie above", fontsize="small")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return chart


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of trained runs")
    parser.add_argument("--points", type=int, default=20, help="the most support points")
    parser.add_argument("--episodes", type=int, default=600, help="test tasks")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    arguments = parser.parse_args()
    try:
        curves = dict(of_run(run, arguments.points, arguments.episodes) for run in arguments.runs)
    except UserError as error:
        raise SystemExit("\n".join(error.messages)) from None
    arguments.out.mkdir(parents=True, exist_ok=True)
    columns = zip(*curves.values(), strict=True)
    rows = [[k, *(f"{e.mean:.3f} ± {e.ci95:.3f}" for e in row)] for k, row in enumerate(columns)]
    print(tabulate(rows, ["support points", *curves], tablefmt="github"))
    numbers = {name: [[e.mean, e.ci95] for e in course] for name, course in curves.items()}
    told = {"tasks": arguments.episodes, "squared error and 95 % interval": numbers}
    (arguments.out / "support_points.json").write_text(json.dumps(told, indent=1) + "\n")
    figure(curves).savefig(arguments.out / "support_points.png")


if __name__ == "__main__":
    main()

"""Accuracy at the first, second ... showing of a class, in streams that a trained run answers.

    python scripts/showings.py outputs/omniglot/mann/NAME ... --showings 10 --out outputs/showings

For runs of learners that are asked every example before its label (`algo=mann`,
`algo=memory_module`). A stream has every class of a task so many times, in random order; each
answer knows what came before. Writes showings.json and showings.png. Source: Santoro et al. 2016,
table 1.
"""

import argparse
import json
from pathlib import Path

import torch
from matplotlib.figure import Figure
from tabulate import tabulate
from torch import Tensor

from maml_cli.algos.reading_learner import ReadingLearner
from maml_cli.commands.evaluate import CHANGEABLE
from maml_cli.config.trained import trained_experiment
from maml_cli.core.algorithm import MetaParameters, Ops
from maml_cli.core.autodiff import Autograd
from maml_cli.core.errors import UserError
from maml_cli.core.norms import BatchStats
from maml_cli.core.stats import Estimate, estimate
from maml_cli.core.types import Episode
from maml_cli.engines.per_task import tasks_of
from maml_cli.readers.lessons import Stream
from maml_cli.readers.reader import StreamReader
from maml_cli.readers.sequences import rounds
from maml_cli.runs.assembly import assemble
from maml_cli.runs.devices import choose_device
from maml_cli.runs.trained import load_trained

AT_ONCE = 20
OPS = Ops(Autograd(), BatchStats)


def by_showing(y: Tensor, right: Tensor) -> Tensor:
    """The share of right answers at each showing of a class, `(showings,)`, of a stream."""
    earlier = rounds(y)
    return torch.stack([right[earlier == k].float().mean() for k in range(int(earlier.max()) + 1)])


def of_episode(learner: ReadingLearner, params: MetaParameters, episode: Episode) -> Tensor:
    """The same for one episode, whose support set and queries are the stream."""
    task, _ = learner.training_task(params, episode, OPS)
    outputs, y = Stream(in_rounds=False)(
        learner.reader, params.theta["reader"], task, OPS.autodiff.gradient
    )
    return by_showing(y, outputs.argmax(-1) == y)


def of_run(folder: Path, showings: int, episodes: int) -> tuple[str, list[Estimate]]:
    """A run's name, and its accuracy at each showing over test episodes."""
    asked = [f"shots={showings - 1}", "queries=1", f"eval.test_episodes={episodes}"]
    free = (*CHANGEABLE, "eval.test_episodes")
    experiment = trained_experiment(folder, asked, changeable=free, others=(), command="")
    device = choose_device("cpu")
    source = experiment.dataset.load(experiment.run, device)
    learner = assemble(experiment, source, device).engine.algorithm
    if not (isinstance(learner, ReadingLearner) and isinstance(learner.reader, StreamReader)):
        raise SystemExit(
            f"{folder}: algo={experiment.algo.name} does not answer streams; give runs of "
            "algo=mann or algo=memory_module"
        )
    [params, *_] = load_trained(folder, experiment, source.objective, device).candidates
    found = [
        of_episode(learner, params, episode)
        for start in range(0, episodes, AT_ONCE)
        for episode in tasks_of(source.episodes("test", start, min(AT_ONCE, episodes - start)))
    ]
    toggles = experiment.algo.toggles()
    name = ", ".join([experiment.algo.name, *(f"{k}={v}".lower() for k, v in toggles.items())])
    return name, [estimate(column) for column in torch.stack(found).unbind(1)]


def figure(curves: dict[str, list[Estimate]]) -> Figure:
    """A line with its 95 % band for each run."""
    chart = Figure(figsize=(6.5, 4), dpi=120, layout="constrained")
    axes = chart.subplots()
    for name, course in curves.items():
        places = range(1, len(course) + 1)
        means = [100 * e.mean for e in course]
        axes.plot(places, means, marker="o", label=name)
        low, high = (
            [m + s * 100 * e.ci95 for m, e in zip(means, course, strict=True)] for s in (-1, 1)
        )
        axes.fill_between(places, low, high, alpha=0.2)
    axes.set(
        xlabel="showing of a class", ylabel="accuracy in %", ylim=(0, 101), xticks=list(places)
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return chart


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of trained runs")
    parser.add_argument("--showings", type=int, default=10, help="of each class")
    parser.add_argument("--episodes", type=int, default=600, help="test episodes")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    arguments = parser.parse_args()
    runs, showings, episodes = arguments.runs, arguments.showings, arguments.episodes
    try:
        with torch.no_grad():
            curves = dict(of_run(run, showings, episodes) for run in runs)
    except UserError as error:
        raise SystemExit("\n".join(error.messages)) from None
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [
        [name, *(f"{100 * e.mean:.1f} ± {100 * e.ci95:.1f}" for e in course)]
        for name, course in curves.items()
    ]
    print(tabulate(rows, ["showing", *range(1, showings + 1)], tablefmt="github"))
    numbers = {name: [[e.mean, e.ci95] for e in course] for name, course in curves.items()}
    told = {"episodes": episodes, "accuracy and 95 % interval": numbers}
    (arguments.out / "showings.json").write_text(json.dumps(told, indent=1) + "\n")
    figure(curves).savefig(arguments.out / "showings.png")


if __name__ == "__main__":
    main()

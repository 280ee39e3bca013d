"""One picture of the same test tasks as fitted by several finished runs of a regression.

    python scripts/side_by_side.py outputs/.../maml outputs/.../bmaml --out picture.png
    python scripts/side_by_side.py RUN RUN RUN --out picture.png dataset.support_side=left

Runs of the same algorithm are told apart by their folders. Other arguments change the test as those
of maml-eval do. Each run's noise is fitted anew on its validation episodes (eval.val_episodes).
"""

import argparse
from pathlib import Path

from maml_cli.commands.evaluate import CHANGEABLE
from maml_cli.config.trained import trained_experiment
from maml_cli.core.errors import UserError
from maml_cli.core.records import Curves
from maml_cli.reporting.plots import side_by_side
from maml_cli.runs.assembly import assemble
from maml_cli.runs.devices import choose_device
from maml_cli.runs.trained import load_trained


def fits(run: Path, changes: list[str]) -> tuple[str, Curves]:
    """The name of the run's algorithm, and its fits."""
    changeable = (*CHANGEABLE, "eval.val_episodes")
    experiment = trained_experiment(run, changes, changeable=changeable, others=(), command="")
    device = choose_device(experiment.run.device)
    source = experiment.dataset.load(experiment.run, device)
    trained = load_trained(run, experiment, source.objective, device)
    parts = assemble(experiment, source, device)
    episodes = experiment.eval.val_episodes
    known = parts.scores(trained.candidates, "val", episodes, lambda *_: None)
    variance = source.objective.scoring.fit(known.predictive, known.targets)
    curves = parts.curves(trained.candidates[0], variance)
    if curves is None:
        raise SystemExit(
            f"{run}: has no curves: {experiment.dataset.name} has no numbers as inputs"
        )
    return experiment.algo.name, curves


def told_apart(runs: list[Path], names: list[str]) -> list[str]:
    """The names, with the folder of a run where several have the same name."""
    return [
        f"{name}, {run}" if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def main() -> None:
    """Read the arguments, draw, and print where the picture is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("arguments", nargs="+", metavar="RUN|KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_intermixed_args()
    changes = [word for word in options.arguments if "=" in word]
    runs = [Path(word) for word in options.arguments if "=" not in word]
    try:
        names, curves = zip(*(fits(run, changes) for run in runs), strict=True)
        titles = told_apart(runs, list(names))
        side_by_side(dict(zip(titles, curves, strict=True))).savefig(options.out)
    except UserError as error:
        raise SystemExit("\n".join(error.messages)) from None
    print(options.out)


if __name__ == "__main__":
    main()

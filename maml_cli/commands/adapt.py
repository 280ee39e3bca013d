"""The entry point of `maml-adapt`: a trained run answers for somebody's own pictures or points."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maml_cli.commands.shared import exit_code, folders, parser, split_off
from maml_cli.commands.streams import lasting
from maml_cli.config.module_path import FLAG, split_module_paths, use_module_paths
from maml_cli.config.trained import trained_experiment
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment

OWN = ("run", "support", "query", "output")
CHANGEABLE = ("eval.inner_steps", "eval.bn_stats", "eval.ensemble", "device", "engine")
DESCRIPTION = """\
Use a run that maml-train has trained: it adapts to a few pictures whose classes you know, and tells
others apart. A run on curves adapts to a few points and predicts others. The result goes into a new
folder, run/adapt/TIME. Of pictures: predictions.csv and table.md with the probability of every
class, and predictions.png. Of points: the same files with means and bands, and curves.png.
"""
EXAMPLES = """\
arguments:
  run=DIR             the folder of the run: outputs/DATASET/ALGO/NAME
  support=DIR         pictures to learn from, CLASS/IMAGE: as many classes as the run has ways;
                      what they are called, and how many pictures each has, is free
  query=DIR           pictures to tell apart: IMAGE, or CLASS/IMAGE, which is then scored;
                      or one picture; both may be zip or tar archives
  support=FILE.csv    for a regression: points with the run's inputs and outputs as columns; of
                      sinusoid, polynomial and sinusoid_or_line they are x and y
  query=FILE.csv      its inputs; if it also has its outputs, they are scored; without a query the
                      predictions are for an even grid over the trained range
  output=DIR          another place for the result; it must be empty or new
  eval.inner_steps    gradient steps (null: as trained)
  eval.bn_stats       batch norm by batch, support, support_and_query or running; support for a
                      run that was tested by batch, so that each picture is judged by itself
  eval.ensemble       how many of the best epochs vote, at most as many as the run has kept
  device, engine      as for maml-train

Pictures may have any size and kind; they are converted as those of the run's data set. For a run on
Omniglot or glyphs they should show dark strokes on white. The data set itself is not needed.

examples:
  maml-adapt run=outputs/omniglot/mamlpp/NAME support=known query=unknown
  maml-adapt run=outputs/omniglot/mamlpp/NAME support=known query=many eval.bn_stats=batch
  maml-adapt run=outputs/sinusoid/maml/NAME support=points.csv

Exit codes: 0 done, 2 usage, 3 data, 4 checkpoint, 5 diverged, 6 storage,
130 interrupted.
"""


@lasting()
def main(argv: Sequence[str] | None = None) -> int:
    """Run `maml-adapt` with these arguments; returns the exit code (see core/errors.py)."""
    words = list(sys.argv[1:] if argv is None else argv)
    usage = "maml-adapt run=DIR support=PATH query=PATH [KEY=VALUE ...]"
    made = parser("maml-adapt", usage=usage, description=DESCRIPTION, epilog=EXAMPLES)
    parsed = made.parse_args(words)
    command = shlex.join(["maml-adapt", *words])
    return exit_code("maml-adapt", lambda: _main(parsed.overrides, parsed.module_path, command))


def _main(arguments: Sequence[str], module_paths: Sequence[str], command: str) -> None:
    use_module_paths(split_module_paths([f"{FLAG}={p}" for p in module_paths])[1])
    own, overrides = split_off(arguments, OWN)
    (run,) = folders(own, ["run"])
    experiment = trained_experiment(
        run, overrides, changeable=CHANGEABLE, others=OWN, command=command
    )
    experiment = alone(experiment, overrides)
    from maml_cli.data.columns import CurveDataset
    from maml_cli.data.inventory import ImageDataset
    from maml_cli.runs.trained import now
    from maml_cli.storage.run_folder import RunFolder

    (output,) = folders({"output": str(RunFolder(run).adaptation(now()))} | own, ["output"])
    dataset = experiment.dataset
    if isinstance(dataset, ImageDataset):
        from maml_cli.runs.classify import classify

        support, query = folders(own, ["support", "query"])
        classify(run, experiment, dataset, support=support, query=query, output_dir=output)
    elif isinstance(dataset, CurveDataset):
        from maml_cli.runs.fit import fit_points

        (support,) = folders(own, ["support"], kind="FILE.csv")
        asked = Path(own["query"]).expanduser() if own.get("query") else None
        fit_points(run, experiment, support, asked, output)
    else:
        raise UsageError(
            f"run={run}: was trained on {dataset.name}, which has neither pictures nor columns "
            "with names; in Python, maml_cli.load(run).adapt(support_x, support_y) takes tensors"
        )


def alone(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """The experiment with each query judged by itself, unless the user says otherwise.

    A run that was tested by the statistics of its queries would normalise a single picture by
    itself, which says nothing. The support set's statistics are the nearest that do not need
    other queries.
    """
    said = any(word.startswith("eval.bn_stats=") for word in overrides)
    if said or experiment.eval.bn_stats != "batch":
        return experiment
    return replace(experiment, eval=replace(experiment.eval, bn_stats="support"))

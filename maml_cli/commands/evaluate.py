"""The entry point of `maml-eval`: tests a run again that was trained before."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Literal

from maml_cli.commands.shared import exit_code, folders, parser, split_off
from maml_cli.commands.streams import lasting
from maml_cli.config.module_path import FLAG, split_module_paths, use_module_paths
from maml_cli.config.trained import trained_experiment
from maml_cli.core.errors import UsageError
from maml_cli.core.settings import EVAL_ARGUMENTS

CHANGEABLE = (
    *("ways", "shots", "queries", "seed", "device", "engine", "data_dir", "cache_dir", "download"),
    *("dataset", "dataset.*", "eval.inner_steps", "eval.bn_stats", "eval.ensemble", "eval.keep"),
    "eval.course_episodes",
)
DECIDED = tuple(
    f"dataset.{name}"
    for name in ("val_fraction", "test_fraction", "split_seed", "range", "standardise")
)
"""Keys of dataset that would draw another split, or show other numbers, than in training."""
NEW = "new"
DESCRIPTION = """\
Test a run again that maml-train has trained: with more episodes, other inner steps, another kind of
batch norm, other shots, another data set. Nothing of the run is changed. The result goes into a new
folder, run/eval/TIME, with table.md, results.json and config.yaml.
"""
EXAMPLES = """\
arguments:
  run=DIR             the folder of the run: outputs/DATASET/ALGO/NAME
  split=test          or val; new: the classes of dataset.path that the run does not know
  output=DIR          another place for the result; it must be empty or new
  eval.test_episodes  how many episodes (of split=val: eval.val_episodes)
  eval.course_episodes  on how many of them accuracy after each inner step is measured
  eval.inner_steps    gradient steps at the test (null: as trained)
  eval.bn_stats       batch norm by batch, support, support_and_query or running
  eval.ensemble       how many of the best epochs vote, at most as many as the run has kept
  eval.keep           files about every query: [predictions,features,pca,tsne] or some of them
  shots, queries, seed, ways (where the head allows), dataset=NAME, dataset.KEY, data_dir,
  cache_dir, download, device, engine: as for maml-train
What is not given is as the run has it; the run's own test is thus repeated to the last digit.

examples:
  maml-eval run=outputs/omniglot/maml/NAME eval.test_episodes=2000
  maml-eval run=outputs/omniglot/maml/NAME eval.inner_steps=10 eval.bn_stats=support
  maml-eval run=outputs/omniglot/maml/NAME shots=5 seed=1
  maml-eval run=outputs/omniglot/maml/NAME dataset=glyphs
  maml-eval run=outputs/omniglot/maml/NAME eval.keep=[predictions]

Exit codes: 0 done, 2 usage, 3 data, 4 checkpoint, 6 storage, 130 interrupted.
"""


@lasting()
def main(argv: Sequence[str] | None = None) -> int:
    """Run `maml-eval` with these arguments; returns the exit code (see core/errors.py)."""
    words = list(sys.argv[1:] if argv is None else argv)
    usage = "maml-eval run=DIR [KEY=VALUE ...]"
    made = parser("maml-eval", usage=usage, description=DESCRIPTION, epilog=EXAMPLES)
    parsed = made.parse_args(words)
    command = shlex.join(["maml-eval", *words])
    return exit_code("maml-eval", lambda: _main(parsed.overrides, parsed.module_path, command))


def _main(arguments: Sequence[str], module_paths: Sequence[str], command: str) -> None:
    use_module_paths(split_module_paths([f"{FLAG}={p}" for p in module_paths])[1])
    own, overrides = split_off(arguments, EVAL_ARGUMENTS)
    (run,) = folders(own, ["run"])
    name = own.get("split", "test")
    split = _split(name)
    experiment = trained_experiment(
        run,
        overrides,
        decided=DECIDED,
        changeable=(*CHANGEABLE, f"eval.{split}_episodes"),
        others=EVAL_ARGUMENTS,
        command=command,
    )
    from maml_cli.core.machine import keep_memory
    from maml_cli.runs.retest import retest
    from maml_cli.runs.trained import now
    from maml_cli.storage.run_folder import RunFolder

    (output,) = folders({"output": str(RunFolder(run).evaluation(now()))} | own, ["output"])
    keep_memory()
    retest(run, experiment, split, output, new=name == NEW)


def _split(name: str) -> Literal["val", "test"]:
    if name not in ("val", "test", NEW):
        raise UsageError(f"split={name}: must be val, test or new")
    return "val" if name == "val" else "test"

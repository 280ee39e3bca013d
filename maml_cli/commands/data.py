"""The entry point of `maml-data`: says what is there of a data set, and prepares it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from maml_cli.commands.shared import exit_code, parser
from maml_cli.commands.streams import lasting
from maml_cli.config import check
from maml_cli.config.build import build
from maml_cli.config.compose import Composer
from maml_cli.config.module_path import FLAG, split_module_paths, use_module_paths
from maml_cli.config.typed_words import readable
from maml_cli.core.errors import StorageError, UsageError

if TYPE_CHECKING:
    from maml_cli.core.experiment import Experiment
    from maml_cli.core.types import Split
    from maml_cli.data.images import ImageTasks
    from maml_cli.data.inventory import ImageDataset, Inventory

EPISODES_SHOWN = 3
DESCRIPTION = """\
Look at a data set and prepare it for maml-train: what is there, what is missing, how many classes
and images each split has; decode it into the cache; write a picture of random episodes.
Nothing is downloaded (except Omniglot with download=true) and nothing of yours is changed.
"""
EXAMPLES = """\
examples:
  maml-data dataset=mini_imagenet data_dir=DIR            DIR holds mini-imagenet/
  maml-data dataset=omniglot download=true                fetch Omniglot into data_dir
  maml-data dataset=image_folder dataset.path=DIR         your own pictures, DIR/CLASS/IMAGE
  maml-data dataset=curves dataset.path=FILE.csv          points of your own
  maml-data dataset=image_folder dataset.path=DIR ways=10 shots=5 queries=5
                                                          are they enough for such episodes?

The arguments are those of maml-train; maml-train --help lists them. Where data sets come from and
how they may lie in their folders: docs/data.md. Exit codes: 0 ready, 2 usage, 3 data, 6 storage.
"""


@lasting()
def main(argv: Sequence[str] | None = None) -> int:
    """Run `maml-data` with these arguments; returns the exit code (see core/errors.py)."""
    made = parser(
        "maml-data",
        usage="maml-data dataset=NAME [KEY=VALUE ...] [--sheet PNG]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    made.add_argument(
        "--config-dir", metavar="DIR", help="take YAML files from DIR too, as maml-train does"
    )
    made.add_argument(
        "--sheet",
        type=Path,
        metavar="PNG",
        help="where the picture goes (default: outputs/DATASET/contact-sheet.png)",
    )
    arguments = made.parse_intermixed_args(argv)
    words = readable(arguments.overrides)
    return exit_code("maml-data", lambda: _main(words, arguments))


def _main(overrides: Sequence[str], arguments: argparse.Namespace) -> None:
    use_module_paths(split_module_paths([f"{FLAG}={p}" for p in arguments.module_path])[1])
    extra, sheet = arguments.config_dir, arguments.sheet
    if problems := check.problems(overrides, extra_dir=extra):
        raise UsageError(*problems)
    composer = Composer(overrides, extra_dir=extra)
    experiment = build(composer.compose(overrides), command="")
    from maml_cli.data.inventory import FileDataset, ImageDataset

    dataset = experiment.dataset
    if isinstance(dataset, FileDataset):
        Console().print(_summary(dataset.name, dataset.inventory(experiment.run)), soft_wrap=True)
    if not isinstance(dataset, ImageDataset):
        _load(experiment)
        return
    _prepare(dataset, experiment, sheet or Path("outputs", dataset.name, "contact-sheet.png"))


def _load(experiment: Experiment) -> None:
    """Say what the episodes of a data set are that has no pictures to prepare."""
    import torch

    from maml_cli.data.sampler import SPLITS

    dataset = experiment.dataset
    tasks = dataset.load(experiment.run, torch.device("cpu"))
    for split in SPLITS:
        episode = tasks.episodes(split, 0, 1)
        support, queries = episode.support_x.shape[1], episode.query_x.shape[1]
        print(f"{split}: episodes of {support} support and {queries} query examples")
    print(f"{dataset.name}: made or read as it is needed; nothing to prepare")
    for remark in tasks.remarks:
        print(f"remark: {remark}")


def _summary(name: str, inventory: Inventory) -> Table:
    """Where the data are, a row per split, and what is not as it should be."""
    table = Table(title=name, title_justify="left", title_style="bold", caption_justify="left")
    table.add_column("split")
    for column in inventory.titles:
        table.add_column(column, justify="right")
    for split, counts in inventory.counts.items():
        table.add_row(split, *_amounts(counts, inventory.expected.get(split)))
    notes = [f"in {source}" for source in inventory.sources]
    table.caption = "\n".join(
        [
            *notes,
            *inventory.notes,
            *(f"not the standard set: {problem}" for problem in inventory.problems),
        ]
    )
    return table


def _amounts(counts: Sequence[int], expected: Split | None) -> tuple[str, str, str]:
    """`64`, `300 of 600`, `19,200 of 38,400`: classes, images per class, images."""
    low, high = min(counts, default=0), max(counts, default=0)
    each = f"{low}" if low == high else f"{low} to {high}"
    if expected is None:
        return f"{len(counts)}", each, f"{sum(counts):,}"
    classes, per_class = expected
    return (
        _of(f"{len(counts)}", f"{classes}"),
        _of(each, f"{per_class}"),
        _of(f"{sum(counts):,}", f"{classes * per_class:,}"),
    )


def _of(found: str, expected: str) -> str:
    return found if found == expected else f"{found} of {expected}"


def _prepare(dataset: ImageDataset, experiment: Experiment, sheet: Path) -> None:
    import torch

    start = time.perf_counter()
    tasks = dataset.load(experiment.run, torch.device("cpu"))
    print(f"ready in {experiment.run.cache_dir} after {time.perf_counter() - start:.1f} s")
    print(f"SHA-256 of the decoded images: {tasks.checksum}")
    for remark in tasks.remarks:
        print(f"remark: {remark}")
    _write_sheet(tasks, sheet)
    print(f"random episodes: {sheet}")


def _write_sheet(tasks: ImageTasks, path: Path) -> None:
    from maml_cli.core.types import Episode
    from maml_cli.data.sampler import SPLITS
    from maml_cli.reporting.contact_sheet import contact_sheet

    episodes = {}
    for split in SPLITS:
        batch = tasks.visible_episodes(split, 0, EPISODES_SHOWN)
        episodes[split] = [Episode(*fields) for fields in zip(*batch, strict=True)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(episodes).save(path, "PNG")
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}): choose another with --sheet"
        ) from error

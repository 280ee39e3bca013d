"""Which classes are for training, for validation and for the test, and whether they are enough."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from maml_cli.core.errors import DataError, UsageError
from maml_cli.core.settings import RunSettings
from maml_cli.core.types import Split
from maml_cli.data.images import shortfalls
from maml_cli.data.picture_tasks import Splits, counts, refuse_shortfalls
from maml_cli.data.pictures import PictureClass
from maml_cli.data.record import CLASSES, Binding, Nouns, some
from maml_cli.data.sampler import SPLITS


class Labelled(Protocol):
    """A class of pictures, or a task of points."""

    @property
    def label(self) -> str: ...


Member = TypeVar("Member", bound=Labelled)


def split_by_seed(
    classes: Sequence[Member], *, val: float, test: float, seed: int
) -> dict[str, list[Member]]:
    """The classes in an order drawn by the seed: first test, then val, the rest is train."""
    order = np.random.RandomState(seed).permutation(len(classes))
    tests, vals = round(test * len(classes)), round(val * len(classes))
    parts = {
        "train": order[tests + vals :],
        "val": order[tests : tests + vals],
        "test": order[:tests],
    }
    return {split: [classes[i] for i in sorted(part)] for split, part in parts.items()}


def bound_splits(
    path: str,
    given: Mapping[str, Sequence[Member]],
    classes: Sequence[Member],
    binding: Binding,
    remarks: list[str],
    *,
    nouns: Nouns = CLASSES,
) -> dict[str, list[Member]]:
    """The splits that a run was trained with, or those that its test needs.

    `given` are splits by the user, `classes` are all where nothing splits them. With a test
    come the validation classes that are there: probabilities are calibrated on them. Raises
    DataError if nothing is there of what is needed. What is left out is added to the remarks.
    """
    record, wanted = binding.record, [binding.split] if binding.split else list(SPLITS)
    useful = [*wanted, *(["val"] if binding.split == "test" else [])]
    everything = [*classes, *(c for part in given.values() for c in part)]
    homes = {} if record is None else {c.label: record.home(c.label) for c in everything}
    new = [c for c in everything if homes.get(c.label) is None]
    if binding.new and binding.split:
        if not new:
            every = nouns.amount(len(everything))
            raise DataError(f"dataset.path={path}: split=new, but the run knows all {every}")
        number = nouns.amount(len(new))
        remarks.append(f"tested on {number} that the run does not know: {_labels(new)}")
        return {binding.split: new}
    if given:
        missing = [split for split in wanted if split not in given]
        if missing:
            raise DataError(
                f"dataset.path={path}: there is {' and '.join(given)}, but no "
                f"{' and no '.join(missing)}"
            )
        return {split: list(given[split]) for split in useful if split in given}
    if len(new) == len(everything) and binding.split:
        remarks.append(f"no {nouns.one} is split or known to the run: all {len(new)} are tested")
        return {binding.split: new}
    if record is None:
        return {}
    own = {split: [c for c in everything if homes[c.label] == split] for split in useful}
    if new:
        remarks.append(
            f"left out: {nouns.amount(len(new))} that the run's own split does not have: "
            f"{_labels(new)}; maml-eval split=new tests on new {nouns.many}"
        )
    return own


def without_small(name: str, splits: Splits, run: RunSettings, needed: str | None) -> Splits:
    """The splits that are needed, and of the others those that have enough for an episode."""
    if needed is None:
        return splits
    enough = {
        split: Split(len(numbers), min(numbers, default=0))
        for split, numbers in counts(splits).items()
    }
    return {
        split: classes
        for split, classes in splits.items()
        if split == needed or not shortfalls(name, {split: enough[split]}, run)
    }


def refuse_too_few_pictures(splits: Splits, run: RunSettings) -> None:
    """Raise UsageError naming the classes that have too few pictures for an episode."""
    small: list[tuple[str, int]] = []
    most = 0
    for split, numbers in counts(splits).items():
        needed = run.shots_in(split) + run.queries_in(split)
        below = [(c.label, n) for c, n in zip(splits[split], numbers, strict=True) if n < needed]
        most = max([most, *([needed] if below else [])])
        small += below
    if not small:
        return
    total = sum(map(len, splits.values()))
    shown = some([f"{label} has {number}" for label, number in small])
    if len(small) == total:
        return  # the arithmetic of every class, see refuse_too_few_classes
    have = "has" if len(small) == 1 else "have"
    raise UsageError(
        f"{len(small)} of {total} classes {have} fewer pictures than the {most} that an episode "
        f"needs (shots={run.shots} + queries={run.queries}): {shown}. "
        f"dataset.min_images={most} leaves such classes out; or lower shots or queries."
    )


def refuse_too_few_classes(name: str, splits: Splits, run: RunSettings, *, drawn: bool) -> None:
    """Raise UsageError if an episode needs more classes than a split has.

    Where fractions have drawn the split, the message has those that would do.
    """
    try:
        refuse_shortfalls(name, splits, run)
    except UsageError as error:
        if drawn and (advice := _fractions_that_do(splits, run)):
            raise UsageError(*error.messages, advice) from None
        raise


def _fractions_that_do(splits: Mapping[str, Sequence[PictureClass]], run: RunSettings) -> str:
    total = sum(map(len, splits.values()))
    short = [split for split in splits if len(splits[split]) < run.ways_in(split)]
    if not short or len(splits) < len(SPLITS):
        return ""
    needed = 2 * run.ways + run.ways_in("train")
    if total < needed:
        lower = f"lower ways to at most {total // 3}, or " if total // 3 > 1 else ""
        return f"{total} classes are too few for three splits of {run.ways}: {lower}add classes."
    fraction = (
        next(
            f
            for f in (math.ceil(100 * run.ways / total) + i for i in range(100))
            if round(f / 100 * total) >= run.ways
        )
        / 100
    )
    return (
        f"Or with {total} classes, dataset.val_fraction={fraction:g} "
        f"dataset.test_fraction={fraction:g} leave {run.ways} or more in each split."
    )


def _labels(classes: Sequence[Labelled]) -> str:
    return some([c.label for c in classes])

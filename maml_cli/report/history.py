"""The course of a run, from the records that it wrote."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import NamedTuple

from maml_cli.report.collect import Run, records
from maml_cli.report.group import Group


class History(NamedTuple):
    """The validation after each epoch."""

    iterations: Sequence[int]
    seconds: Sequence[float]
    """Of training, validation left out."""
    metric: Sequence[float]
    """After the last inner step."""
    inner_rates: Mapping[str, Sequence[float]]
    """The learned rates after the last epoch, by tensor and step; empty if none are learned."""


def history(run: Run) -> History | None:
    """What the run wrote after each epoch; None without a record of it."""
    if run.whole_folder is None:
        return None
    iterations: list[int] = []
    clock: list[float] = []
    metric: list[float] = []
    rates: Mapping[str, Sequence[float]] = {}
    done, seconds = 0, 0.0
    for record in records(run.whole_folder):
        if record["kind"] == "train":
            seconds += (record["iteration"] - done) / record["iterations_per_second"]
            done = record["iteration"]
        else:
            iterations.append(record["iteration"])
            clock.append(seconds)
            mean = record["val"][-1]["mean"]
            metric.append(nan if mean is None else mean)  # JSON has no nan
            rates = record["inner_rates"]
    return History(iterations, clock, metric, rates) if iterations else None


def mean_history(group: Group) -> History | None:
    """Mean over the seeds; the inner rates are of the first seed alone."""
    found = [one for run in group.runs if (one := history(run)) is not None]
    if not found:
        return None
    return History(
        found[0].iterations,
        [_mean(times) for times in zip(*(one.seconds for one in found), strict=True)],
        [_mean(values) for values in zip(*(one.metric for one in found), strict=True)],
        found[0].inner_rates,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

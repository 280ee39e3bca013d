"""The course of a run, from the records that it wrote."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from maml_cli.report.collect import Run
from maml_cli.report.run_files import read_rates, read_records


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
    """What the run wrote after each epoch; None without a record of it.

    Raises ValueError or OSError if the records are not as they should be.
    """
    if run.whole_folder is None:
        return None
    iterations: list[int] = []
    clock: list[float] = []
    metric: list[float] = []
    rates: Mapping[str, Sequence[float]] = {}
    done, seconds = 0, 0.0
    for record in read_records(run.whole_folder):
        if record.text("kind") == "train":
            speed = record.number("iterations_per_second")
            if not speed > 0:
                raise ValueError(f"iterations_per_second is {speed}, which is above 0")
            seconds += (record.integer("iteration") - done) / speed
            done = record.integer("iteration")
        else:
            iterations.append(record.integer("iteration"))
            clock.append(seconds)
            val = record.array("val")
            if not val:
                raise ValueError("val is empty")
            metric.append(val[-1].number("mean"))
            rates = read_rates(record)
    return History(iterations, clock, metric, rates) if iterations else None


def mean_history(histories: Sequence[History]) -> History | None:
    """Mean over the seeds, as far as all have come; the inner rates are of the first seed alone."""
    if not histories:
        return None
    return History(
        histories[0].iterations[: min(len(one.iterations) for one in histories)],
        [_mean(times) for times in zip(*(one.seconds for one in histories), strict=False)],
        [_mean(values) for values in zip(*(one.metric for one in histories), strict=False)],
        histories[0].inner_rates,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

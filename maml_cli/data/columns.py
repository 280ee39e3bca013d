"""The numbers of a regression by name, and how a network sees them."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

Numbers = NDArray[np.float64]


class Column(NamedTuple):
    """One number of every point. A network sees `(value - mean) / deviation`."""

    name: str
    mean: FiniteFloat = 0.0
    deviation: Annotated[FiniteFloat, Field(gt=0)] = 1.0
    low: FiniteFloat | None = None
    """The lowest value in training; None: not known."""
    high: FiniteFloat | None = None

    @property
    def trained(self) -> tuple[float, float] | None:
        """The lowest and the highest value in training; None: not known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def constant(self) -> bool:
        """Whether training had one value of it."""
        return self.low is not None and self.low == self.high


class Columns(NamedTuple):
    """What a network is given of a point, and what it answers with."""

    inputs: Sequence[Column]
    outputs: Sequence[Column]

    @property
    def standardised(self) -> bool:
        """Whether a network sees other numbers than a file has."""
        return any((c.mean, c.deviation) != (0.0, 1.0) for c in (*self.inputs, *self.outputs))


@runtime_checkable
class CurveDataset(Protocol):
    """A data set for regression whose numbers have names."""

    name: str

    def columns(self, trained: Columns | None) -> Columns:
        """The inputs and outputs of a run; `trained` is what the run's record has of them."""
        ...


def seen(values: Numbers, columns: Sequence[Column]) -> Numbers:
    """Numbers of a file, `(points, columns)`, as a network sees them."""
    means, deviations = _scale(columns)
    found: Numbers = (values - means) / deviations
    return found


def original(values: Numbers, columns: Sequence[Column]) -> Numbers:
    """Numbers of a network, `(..., columns)`, in the units of the file."""
    means, deviations = _scale(columns)
    found: Numbers = values * deviations + means
    return found


def _scale(columns: Sequence[Column]) -> tuple[Numbers, Numbers]:
    return np.array([c.mean for c in columns]), np.array([c.deviation for c in columns])


def measured(names: Sequence[str], values: Numbers, *, standardise: bool) -> list[Column]:
    """The columns of training points, `(points, columns)`, with their ranges.

    With `standardise` they also have mean and deviation; that of a constant is 1.
    """
    return [
        Column(
            name,
            float(value.mean()) if standardise else 0.0,
            float(value.std()) or 1.0 if standardise else 1.0,
            float(value.min()),
            float(value.max()),
        )
        for name, value in zip(names, values.T, strict=True)
    ]

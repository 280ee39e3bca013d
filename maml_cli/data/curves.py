"""Curves to regress from a few points: tasks that are drawn from a family of functions."""

from abc import ABC, abstractmethod
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from maml_cli.core import noise
from maml_cli.core.objective import REGRESSION
from maml_cli.core.settings import STRICT, OnlyWith, RunSettings
from maml_cli.core.types import Episode
from maml_cli.data.columns import Column, Columns, Numbers
from maml_cli.data.sampler import Words, episode_keys, episode_words, uniform

_GRID_POINTS = 201


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CurveFamily(ABC):
    """A family of curves `y = f(x; parameters)` with x uniform in an interval.

    A subclass says what `inputs`, `words`, `parameters` and `values` are.
    """

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    reveal: Annotated[
        bool, Field(description="inputs tell the curve's parameters, as the oracle's")
    ]
    noise: Annotated[float, Field(ge=0, description="standard deviation of the noise on targets")]
    noisy_queries: Annotated[
        bool,
        Field(description="noise on the queries of validation and test too; false: on none"),
        OnlyWith("noise"),
    ]
    support_side: Annotated[
        Literal["both", "left", "right"],
        Field(description="where support points lie; left: in the lower half of the inputs"),
    ]

    @property
    @abstractmethod
    def inputs(self) -> tuple[float, float]:
        """The lowest and the highest x."""

    @property
    @abstractmethod
    def words(self) -> int:
        """How many random words decide a curve."""

    @abstractmethod
    def parameters(self, words: Words) -> Numbers:
        """The parameters of curves, `(curves, parameters)`, from `(curves, words)` random words."""

    @abstractmethod
    def values(self, parameters: Numbers, x: Numbers) -> Numbers:
        """The curves at inputs `(curves, points)`, of the same shape."""

    def deviations(self, parameters: Numbers) -> Numbers:
        """The standard deviation of each curve's noise, `(curves, 1)`."""
        return np.full((len(parameters), 1), self.noise)

    def check(self, run: RunSettings) -> list[str]:
        """What these run settings ask for that a curve does not have."""
        return ways_problems(self.name, run)

    def columns(self, trained: Columns | None) -> Columns:
        """Its input x and output y, which networks see as they are; with `reveal` others too."""
        low, high = self.inputs
        told = self.parameters(np.zeros((1, self.words), np.uint64)).size if self.reveal else 0
        inputs = [Column("x", low=low, high=high)]
        return Columns(inputs + [Column(f"parameter {n + 1}") for n in range(told)], [Column("y")])

    def load(self, run: RunSettings, device: torch.device) -> "CurveTasks":
        """The tasks; nothing is read or downloaded."""
        return CurveTasks(self, run, device)


def ways_problems(name: str, run: RunSettings) -> list[str]:
    """One sentence for each key that asks a regression for classes."""
    return [
        f"{key}={ways} asks for classes, but {name} is regression: set {key}={rule}."
        for key, ways, rule in (("ways", run.ways, "1"), ("train_ways", run.train_ways, "null"))
        if ways not in (1, None)
    ]


class CurveTasks:
    """An endless supply of curves, each with `shots` support and `queries` query points.

    An input is x, or with `reveal` (x, *parameters).
    """

    objective = REGRESSION
    output_size = 1
    train_classes = 1
    remarks: tuple[str, ...] = ()

    def __init__(self, family: CurveFamily, run: RunSettings, device: torch.device) -> None:
        self._family, self._run, self._device = family, run, device
        told = family.parameters(np.zeros((1, family.words), np.uint64)) if family.reveal else ()
        self.input_shape = (1 + np.size(told),)

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split; fields are `(count, points, inputs)`."""
        noisy = split == "train" or self._family.noisy_queries
        return self._episodes(split, start, count, grid=None, noisy_queries=noisy)

    def curve_episodes(self, count: int) -> Episode | None:
        """Test episodes 0 to count-1 with noise-free queries on a regular grid, ends included."""
        if self._family.reveal:
            return None
        grid = np.linspace(*self._family.inputs, _GRID_POINTS)
        return self._episodes("test", 0, count, grid=grid, noisy_queries=False)

    def _episodes(
        self, split: str, start: int, count: int, *, grid: Numbers | None, noisy_queries: bool
    ) -> Episode:
        family, seed, shots = self._family, self._run.seed, self._run.shots_in(split)
        points = shots + self._run.queries_in(split)
        words = episode_words(seed, split, start, count, family.words + points)
        parameters = family.parameters(words[:, : family.words])
        by_support, by_query = np.split(words[:, family.words :], [shots], axis=1)
        support_x = uniform(by_support, *self._support_interval())
        query_x = uniform(by_query, *family.inputs)
        if grid is not None:
            query_x = np.broadcast_to(grid, (count, len(grid)))
        keys = torch.from_numpy(episode_keys(seed, split, start, count))
        return Episode(
            support_x=self._inputs(support_x, parameters),
            support_y=self._targets(support_x, parameters, keys, "support targets", True),
            query_x=self._inputs(query_x, parameters),
            query_y=self._targets(query_x, parameters, keys, "query targets", noisy_queries),
            classes=torch.zeros(count, 1, dtype=torch.int64, device=self._device),
            key=keys.to(self._device),
        )

    def _support_interval(self) -> tuple[float, float]:
        low, high = self._family.inputs
        middle = (low + high) / 2
        halves = {"both": (low, high), "left": (low, middle), "right": (middle, high)}
        return halves[self._family.support_side]

    def _inputs(self, x: Numbers, parameters: Numbers) -> Tensor:
        told = parameters.T[..., None] if self._family.reveal else ()
        columns = (x, *(np.broadcast_to(column, x.shape) for column in told))
        return torch.cat([self._column(column) for column in columns], dim=-1)

    def _targets(
        self, x: Numbers, parameters: Numbers, keys: Tensor, stream: str, noisy: bool
    ) -> Tensor:
        y = self._family.values(parameters, x)
        if noisy and self._family.noise:
            standard = torch.func.vmap(partial(noise.normal, stream=stream, shape=x.shape[1:]))
            y = y + self._family.deviations(parameters) * standard(keys).numpy()
        return self._column(y)

    def _column(self, values: Numbers) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).unsqueeze(-1).to(self._device)

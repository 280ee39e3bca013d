"""Sine waves to regress from a few points (Finn et al. 2017, section 5.1)."""

import math
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from maml_cli.core.objective import REGRESSION
from maml_cli.core.settings import STRICT, RunSettings
from maml_cli.core.types import Episode
from maml_cli.data.sampler import Indices, episode_keys, episode_words, uniform

AMPLITUDES = (0.1, 5.0)
INPUTS = (-5.0, 5.0)
_GRID_POINTS = 201


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sinusoid:
    """`y = A sin(x - phase)`; A in [0.1, 5], phase in [0, max_phase], x in [-5, 5], all uniform."""

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    max_phase: Annotated[float, Field(gt=0, le=2 * math.pi, description="of all waves, radians")]
    reveal: Annotated[bool, Field(description="inputs tell amplitude and phase, as the oracle's")]

    def check(self, run: RunSettings) -> list[str]:
        """What these run settings ask for that a sine wave does not have."""
        return [
            f"{key}={ways} asks for classes, but {self.name} is regression: set {key}={rule}."
            for key, ways, rule in (("ways", run.ways, "1"), ("train_ways", run.train_ways, "null"))
            if ways not in (1, None)
        ]

    def load(self, run: RunSettings, device: torch.device) -> "SinusoidTasks":
        """The tasks; nothing is read or downloaded."""
        return SinusoidTasks(run, device, max_phase=self.max_phase, reveal=self.reveal)


class SinusoidTasks:
    """An endless supply of sine waves, each with `shots` support and `queries` query points.

    An input is x, or with `reveal` (x, amplitude, phase).
    """

    objective = REGRESSION
    output_size = 1
    train_classes = 1
    remarks: tuple[str, ...] = ()

    def __init__(
        self, run: RunSettings, device: torch.device, *, max_phase: float, reveal: bool
    ) -> None:
        self.input_shape = (3,) if reveal else (1,)
        self._seed, self._shots_in, self._queries_in = run.seed, run.shots_in, run.queries_in
        self._device, self._max_phase = device, max_phase

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Episodes start to start+count-1 of the split; fields are `(count, points, 1 or 3)`."""
        amplitude, phase, x = self._draw(split, start, count)
        support_x, query_x = np.split(x, [self._shots_in(split)], axis=1)
        keys = episode_keys(self._seed, split, start, count)
        return self._episode(amplitude, phase, support_x, query_x, keys)

    def curve_episodes(self, count: int) -> Episode | None:
        """Test episodes 0 to count-1 with queries on a regular grid over [-5, 5], ends included."""
        if self.input_shape != (1,):
            return None
        amplitude, phase, x = self._draw("test", 0, count)
        grid = np.broadcast_to(np.linspace(*INPUTS, _GRID_POINTS), (count, _GRID_POINTS))
        keys = episode_keys(self._seed, "test", 0, count)
        return self._episode(amplitude, phase, x[:, : self._shots_in("test")], grid, keys)

    def _draw(self, split: str, start: int, count: int) -> tuple[NDArray[np.float64], ...]:
        size = 2 + self._shots_in(split) + self._queries_in(split)
        words = episode_words(self._seed, split, start, count, size)
        amplitude = uniform(words[:, :1], *AMPLITUDES)
        phase = uniform(words[:, 1:2], 0.0, self._max_phase)
        return amplitude, phase, uniform(words[:, 2:], *INPUTS)

    def _episode(
        self,
        amplitude: NDArray[np.float64],
        phase: NDArray[np.float64],
        support_x: NDArray[np.float64],
        query_x: NDArray[np.float64],
        keys: Indices,
    ) -> Episode:
        def column(values: NDArray[np.float64]) -> Tensor:
            return torch.from_numpy(values.astype(np.float32)).unsqueeze(-1).to(self._device)

        def inputs(x: NDArray[np.float64]) -> Tensor:
            told = (x, *(np.broadcast_to(v, x.shape) for v in (amplitude, phase)))
            return torch.cat([column(v) for v in told[: self.input_shape[0]]], dim=-1)

        return Episode(
            support_x=inputs(support_x),
            support_y=column(amplitude * np.sin(support_x - phase)),
            query_x=inputs(query_x),
            query_y=column(amplitude * np.sin(query_x - phase)),
            classes=torch.zeros(len(amplitude), 1, dtype=torch.int64, device=self._device),
            key=torch.from_numpy(keys).to(self._device),
        )

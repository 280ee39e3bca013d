"""Sine waves to regress from a few points (Finn et al. 2017, section 5.1; Yoon et al. 2018)."""

import math
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.settings import STRICT, OnlyWith, RunSettings
from maml_cli.data.columns import Numbers
from maml_cli.data.curves import CurveFamily
from maml_cli.data.sampler import Words, uniform

AMPLITUDES = (0.1, 5.0)
INPUTS = (-5.0, 5.0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sinusoid(CurveFamily):
    """`y = A sin(f x - phase)`; A in [0.1, 5], x in [-5, 5], all uniform.

    The frequency f is in [min_frequency, max_frequency], phase in [0, max_phase]. With
    `relative_noise` a wave's noise has the deviation `noise * A`.
    """

    max_phase: Annotated[float, Field(gt=0, le=2 * math.pi, description="of all waves, radians")]
    min_frequency: Annotated[float, Field(gt=0, le=100, description="of all waves, radians per x")]
    max_frequency: Annotated[float, Field(gt=0, le=100, description="of all waves, radians per x")]
    relative_noise: Annotated[
        bool, Field(description="noise is a share of the amplitude"), OnlyWith("noise")
    ]

    inputs = INPUTS

    def check(self, run: RunSettings) -> list[str]:
        """What contradicts itself, or asks for what a wave does not have."""
        problems = super().check(run)
        if self.min_frequency > self.max_frequency:
            problems.append(
                f"dataset.min_frequency={self.min_frequency} is above dataset.max_frequency="
                f"{self.max_frequency}: lower it, or raise dataset.max_frequency"
            )
        return problems

    @property
    def words(self) -> int:
        """Two, and a third where frequencies differ."""
        return 2 if self.min_frequency == self.max_frequency else 3

    def parameters(self, words: Words) -> Numbers:
        """Amplitude and phase, `(curves, 2)`; where frequencies differ, the frequency too."""
        amplitude = uniform(words[:, 0], *AMPLITUDES)
        phase = uniform(words[:, 1], 0.0, self.max_phase)
        frequency = uniform(words[:, 2:].T, self.min_frequency, self.max_frequency)
        return np.stack([amplitude, phase, *frequency], axis=1)

    def values(self, parameters: Numbers, x: Numbers) -> Numbers:
        """The waves at x."""
        amplitude, phase, *varied = parameters.T[..., None]
        frequency = varied[0] if varied else self.min_frequency
        found: Numbers = amplitude * np.sin(frequency * x - phase)
        return found

    def deviations(self, parameters: Numbers) -> Numbers:
        """The same for all waves, or in proportion to the amplitude."""
        scale = parameters[:, :1] if self.relative_noise else np.ones((len(parameters), 1))
        return self.noise * scale

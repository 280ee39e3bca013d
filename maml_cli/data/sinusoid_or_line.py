"""Curves that are a sine wave or a line: ambiguous from a few noisy points (Finn et al. 2018)."""

import math

import numpy as np
from pydantic.dataclasses import dataclass

from maml_cli.core.settings import STRICT
from maml_cli.data.columns import Numbers
from maml_cli.data.curves import CurveFamily
from maml_cli.data.sampler import Words, uniform
from maml_cli.data.sinusoid import AMPLITUDES, INPUTS

PHASES = (0.0, math.pi)
COEFFICIENTS = (-3.0, 3.0)
"""Of a line: its slope and its value at x = 0."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SinusoidOrLine(CurveFamily):
    """`y = A sin(x - phase)` or `y = a x + b`, each with probability 1/2; x in [-5, 5].

    A is in [0.1, 5], phase in [0, pi], a and b in [-3, 3], all uniform. Source: the
    ambiguous regression of Finn, Xu & Levine 2018 (PLATIPUS).
    """

    inputs = INPUTS
    words = 5

    def parameters(self, words: Words) -> Numbers:
        """Line (1) or wave (0), amplitude, phase, slope and value at 0: `(curves, 5)`."""
        kind = np.floor(uniform(words[:, 0], 0.0, 2.0))
        intervals = (AMPLITUDES, PHASES, COEFFICIENTS, COEFFICIENTS)
        rest = (uniform(words[:, i], *interval) for i, interval in enumerate(intervals, start=1))
        return np.stack([kind, *rest], axis=1)

    def values(self, parameters: Numbers, x: Numbers) -> Numbers:
        """The curves at x."""
        is_line, amplitude, phase, slope, at_zero = parameters.T[..., None]
        found: Numbers = np.where(is_line, slope * x + at_zero, amplitude * np.sin(x - phase))
        return found

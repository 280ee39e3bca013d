"""Polynomials to regress from a few points (Lee & Choi 2018, the experiment on MT-net's masks)."""

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.settings import STRICT
from maml_cli.data.columns import Numbers
from maml_cli.data.curves import CurveFamily
from maml_cli.data.sampler import Words, uniform

INPUTS = (-2.0, 2.0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Polynomial(CurveFamily):
    """`y = sum_i c_i x^i` for i = 0 to degree; c_i in [-1, 1] / 2^i, x in [-2, 2], all uniform.

    Every term is thus within [-1, 1]. Source: the official MT-net code.
    """

    degree: Annotated[int, Field(ge=0, le=10, description="of every curve")]

    inputs = INPUTS

    @property
    def words(self) -> int:
        """One for each coefficient."""
        return self.degree + 1

    def parameters(self, words: Words) -> Numbers:
        """The coefficients, lowest power first, `(curves, degree + 1)`."""
        return uniform(words, -1.0, 1.0) / 2.0 ** np.arange(self.degree + 1)

    def values(self, parameters: Numbers, x: Numbers) -> Numbers:
        """The polynomials at x."""
        powers = x[..., None] ** np.arange(self.degree + 1)
        found: Numbers = np.einsum("cpi,ci->cp", powers, parameters)
        return found

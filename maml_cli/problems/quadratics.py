"""Quadratic problems: `f(x) = |W x - y|^2` (Andrychowicz et al. 2016, section 3.1)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor

from maml_cli.core import noise
from maml_cli.core.likelihood import NORMAL
from maml_cli.core.network import Network
from maml_cli.core.norms import Norm
from maml_cli.core.objective import to_minimise
from maml_cli.core.settings import STRICT, OfProblems, RunSettings
from maml_cli.core.types import Episode, Tensors
from maml_cli.data.sampler import episode_keys


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Quadratics(OfProblems):
    """`|W x - y|^2`, summed over the rows of W; entries of W and y are independent.

    Uniform on (0, 1) as in the official code, which the paper's figure fits, or standard normal as
    in the paper's text. x starts normal with deviation `start`.
    """

    name: Annotated[str, Field(min_length=1, description="in tables and folder names")]
    coordinates: Annotated[int, Field(ge=1, le=1000, description="of x; W is square")]
    entries: Annotated[Literal["uniform", "normal"], Field(description="of W and y")]
    start: Annotated[float, Field(ge=0, le=100, description="deviation of x at the start")]

    def load(self, run: RunSettings, device: torch.device) -> "QuadraticProblems":
        """The problems; nothing is read."""
        return QuadraticProblems(self, run.seed, device)


class Linear(Network):
    """`W x` for rows of W: the parameters are the one vector x."""

    def __init__(self, coordinates: int) -> None:
        self.input_shape = self.feature_shape = (coordinates,)

    def init(self, generator: Generator) -> dict[str, Tensor]:
        return {"x": torch.zeros(self.input_shape)}

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        return {}

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        return x

    def outputs(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        return x @ params["x"]


def _squared_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum()


class QuadraticProblems:
    """An endless supply of them: the support set is the rows of W with the entries of y."""

    objective = to_minimise(_squared_distance, NORMAL)
    output_size = 1
    train_classes = 1
    batch = None

    def __init__(self, form: Quadratics, seed: int, device: torch.device) -> None:
        self._form, self._seed, self._device = form, seed, device
        self.network = Linear(form.coordinates)
        self.input_shape = self.network.input_shape
        entries = {"uniform": "uniform on (0, 1)", "normal": "standard normal"}[form.entries]
        self.remarks: tuple[str, ...] = (
            f"f(x) = |W x - y|^2 in {form.coordinates} dimensions, W and y {entries}",
        )

    def episodes(self, split: str, start: int, count: int) -> Episode:
        """Problems start to start+count-1: `support_x` is W, `support_y` is y."""
        keys = torch.from_numpy(episode_keys(self._seed, split, start, count)).to(self._device)
        n = self._form.coordinates
        draw = {"uniform": noise.uniform, "normal": noise.normal}[self._form.entries]
        w = torch.func.vmap(lambda key: draw(key, "W", (n, n)))(keys).float()
        y = torch.func.vmap(lambda key: draw(key, "y", (n,)))(keys).float()
        nothing = torch.zeros(count, 1, dtype=torch.int64, device=self._device)
        return Episode(w, y, query_x=w, query_y=y, classes=nothing, key=keys)

    def curve_episodes(self, count: int) -> None:
        """There are no curves to fit."""

    def start(self, key: Tensor) -> Tensors:
        """`x`, normal."""
        return {"x": self._form.start * noise.normal(key, "start", self.input_shape)}

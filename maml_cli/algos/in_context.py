"""A transformer that learns in context: the support set and one query are its input, once.

Sources: Garg, Tsipras, Liang & Valiant 2022, "What can transformers learn in-context?" (functions);
Fifty et al. 2024, "Context-aware meta-learning" (label codes; no order, no causal mask).
"""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Generator, Tensor
from torch.nn.init import normal_, xavier_uniform_

from maml_cli.algos.reading import (
    Embedding,
    Gradient,
    Reader,
    ReaderDefaults,
    ReadingLearner,
)
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.sequences import Examples, one_hot
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import TaskSource, Tensors


def label_codes(y: Tensor, ways: int, like: Tensor) -> Tensor:
    """Unit vectors at equal angles for labels, `(examples, ways)`; numbers are their own codes.

    `sqrt(K / (K - 1)) (e_k - 1/K)` for label k of K, so that all cosines are `-1 / (K - 1)`.
    Source: Fifty et al. 2024, section 3 (equal length and maximally equiangular sets).
    """
    if y.is_floating_point():
        return y
    return math.sqrt(ways / (ways - 1)) * (one_hot(y, ways, like) - 1 / ways)


class Context(NamedTuple):
    """The tokens of a support set, `(examples, width)`, and which of them are shown."""

    tokens: Tensor
    shown: Tensor


@dataclass(frozen=True, kw_only=True)
class Transformer(Reader):
    """An encoder without positions over the support tokens and one query's, for each query anew.

    A token is the sum of linear maps of the features and of the label's code; a query's has a
    learned vector in place of the latter. Every token attends to all; the query's becomes the
    output. Layers normalise first and have GELU units, four times as many as the width.
    """

    features: int
    outputs: int
    width: int
    layers: int
    heads: int

    def init(self, generator: Generator) -> dict[str, Tensor]:
        width = self.width
        sizes = {"features": (self.features, width), "code": (self.outputs, width)}
        for layer in map(str, range(self.layers)):
            sizes[f"{layer}.heads"] = (width, 3 * width)
            sizes[f"{layer}.joined"] = (width, width)
            sizes[f"{layer}.wide"] = (width, 4 * width)
            sizes[f"{layer}.narrow"] = (4 * width, width)
        sizes["output"] = (width, self.outputs)
        params = {"unknown": normal_(torch.empty(width), std=0.02, generator=generator)}
        for name, (inputs, outputs) in sizes.items():
            weight = torch.empty(outputs, inputs)
            params[f"{name}.weight"] = xavier_uniform_(weight, generator=generator)
            params[f"{name}.bias"] = torch.zeros(outputs)
        return params

    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> Context:
        codes = label_codes(support.y, self.outputs, support.x)
        tokens = _linear(params, "features", support.x) + _linear(params, "code", codes)
        return Context(tokens, support.shown)

    def answer(self, params: Tensors, memory: Context, x: Tensor) -> Tensor:
        queries = _linear(params, "features", x) + params["unknown"]
        support = memory.tokens.unsqueeze(1).expand(-1, len(x), -1)
        tokens = torch.cat([support, queries.unsqueeze(0)])  # (places, queries, width)
        hidden = torch.cat([~memory.shown, memory.shown.new_zeros(1)])
        hidden = hidden.expand(len(x), -1)
        for layer in map(str, range(self.layers)):
            tokens = tokens + self._attention(params, layer, self._normalised(tokens), hidden)
            units = F.gelu(_linear(params, f"{layer}.wide", self._normalised(tokens)))
            tokens = tokens + _linear(params, f"{layer}.narrow", units)
        return _linear(params, "output", self._normalised(tokens[-1]))

    def _normalised(self, x: Tensor) -> Tensor:
        """Layer normalisation; gain and bias are those of the linear map that follows."""
        return F.layer_norm(x, (self.width,))

    def _attention(self, params: Tensors, layer: str, x: Tensor, hidden: Tensor) -> Tensor:
        found, _ = F.multi_head_attention_forward(
            query=x,
            key=x,
            value=x,
            embed_dim_to_check=self.width,
            num_heads=self.heads,
            in_proj_weight=params[f"{layer}.heads.weight"],
            in_proj_bias=params[f"{layer}.heads.bias"],
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=params[f"{layer}.joined.weight"],
            out_proj_bias=params[f"{layer}.joined.bias"],
            key_padding_mask=hidden,
            average_attn_weights=False,  # asked for, since vmap batches that form
        )
        return found


def _linear(params: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])


@settings(frozen=True, kw_only=True, config=STRICT)
class InContext(ReaderDefaults):
    """The settings of the transformer."""

    name: str
    width: Annotated[int, Field(ge=1, le=4096, description="numbers per token")]
    layers: Annotated[int, Field(ge=1, le=48, description="attention layers")]
    heads: Annotated[int, Field(ge=1, le=64, description="attention heads; they share the width")]
    mixed_shots: Annotated[
        bool, Field(description="training shows 1 (curves: 0) to all shots, drawn for each episode")
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        problems = super().check(experiment)
        if self.width % self.heads:
            problems.append(
                f"algo.width={self.width} is no multiple of algo.heads={self.heads}: the heads "
                "share the width equally, so change one of them"
            )
        return problems

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"mixed_shots": self.mixed_shots}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReadingLearner:
        """Turn the settings into parts."""
        embedding = Embedding(network=network)
        reader = Transformer(
            features=embedding.size,
            outputs=source.output_size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
        )
        return ReadingLearner(
            reader=reader,
            embedding=embedding,
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
            bn_stats=train.bn_stats,
            mixed_shots=self.mixed_shots,
        )

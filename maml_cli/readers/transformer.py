"""A transformer that learns in context: the support set and one query are its input, once.

Sources: Garg, Tsipras, Liang & Valiant 2022, "What can transformers learn in-context?" (functions);
Fifty et al. 2024, "Context-aware meta-learning" (label codes; no order, no causal mask).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.nn.init import normal_

from maml_cli.core.types import Tensors
from maml_cli.readers.linear_maps import fresh, linear
from maml_cli.readers.reader import Gradient, Reader
from maml_cli.readers.sequences import Examples, one_hot


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
        unknown = normal_(torch.empty(width), std=0.02, generator=generator)
        return {"unknown": unknown} | fresh(sizes, generator)

    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> Context:
        codes = label_codes(support.y, self.outputs, support.x)
        tokens = linear(params, "features", support.x) + linear(params, "code", codes)
        return Context(tokens, support.shown)

    def answer(self, params: Tensors, memory: Context, x: Tensor) -> Tensor:
        queries = linear(params, "features", x) + params["unknown"]
        support = memory.tokens.unsqueeze(1).expand(-1, len(x), -1)
        tokens = torch.cat([support, queries.unsqueeze(0)])  # (places, queries, width)
        hidden = torch.cat([~memory.shown, memory.shown.new_zeros(1)])
        hidden = hidden.expand(len(x), -1)
        for layer in map(str, range(self.layers)):
            tokens = tokens + self._attention(params, layer, self._normalised(tokens), hidden)
            units = F.gelu(linear(params, f"{layer}.wide", self._normalised(tokens)))
            tokens = tokens + linear(params, f"{layer}.narrow", units)
        return linear(params, "output", self._normalised(tokens[-1]))

    def _normalised(self, x: Tensor) -> Tensor:
        """Layer normalisation without gain and bias, which the next linear map has."""
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

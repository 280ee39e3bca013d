"""A generative model of sets of pictures, whose context tells what a set has in common.

Source: Edwards & Storkey 2017; the widths are those of an open implementation
(docs/disagreements.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from maml_cli.comparison.comparison import Comparison, of_class
from maml_cli.comparison.gaussians import Gaussian, kl, kl_to_standard
from maml_cli.core import noise
from maml_cli.core.norms import Norm
from maml_cli.core.types import Tensors

HALVINGS = 3
"""The decoder doubles its maps so often."""

Divergence = Literal["query_to_class", "class_to_query"]
"""Of posteriors: KL(query || class), or KL(class || query), in this order."""
Likelihood = Literal["bernoulli", "gaussian"]


@dataclass(frozen=True, kw_only=True)
class Statistician(Comparison):
    """Posteriors of the context of a set: a query is a set of one, a class the set of its examples.

    The score of a class is minus the divergence of both posteriors.
    """

    picture: tuple[int, int, int]
    """Channels, height and width."""
    context: int
    latent: int
    units: int
    filters: int
    likelihood: Likelihood
    divergence: Divergence
    sample_dropout: bool

    @property
    def _start(self) -> tuple[int, int, int]:
        """The shape of the decoder's first maps."""
        _, height, width = self.picture
        return self.filters, *(-(-size // 2**HALVINGS) for size in (height, width))

    def init(self, feature_shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        """Weights and biases uniform within `+- 1 / sqrt(inputs of an output)`."""
        size, units, filters = prod(feature_shape), self.units, self.filters
        shapes: dict[str, tuple[int, ...]] = {
            "statistic.example": (units, size),
            "statistic.set": (units, units + 1),
            "statistic.out": (2 * self.context, units),
            "inference.features": (units, size),
            "inference.context": (units, self.context),
            "prior.context": (units, self.context),
            **{f"{n}.{i}": (units, units) for n in ("inference", "prior") for i in range(3)},
            **{f"{n}.out": (2 * self.latent, units) for n in ("inference", "prior")},
            "decoder.latent": (units, self.latent),
            "decoder.context": (units, self.context),
            "decoder.maps": (prod(self._start), units),
            **{f"decoder.{i}.conv": (filters, filters, 3, 3) for i in range(HALVINGS)},
            "decoder.out": (self.picture[0], filters, 1, 1),
        }
        params: dict[str, Tensor] = {"decoder.log_var": torch.zeros(1)}
        for name, shape in shapes.items():
            bound = prod(shape[1:]) ** -0.5
            for part, of in (("weight", shape), ("bias", shape[:1])):
                params[f"{name}.{part}"] = torch.empty(of).uniform_(
                    -bound, bound, generator=generator
                )
        return params

    def classes(self, params: Tensors, support: Tensor, labels: Tensor, ways: int) -> Gaussian:
        """The posterior q(c | D) of each class, `(ways, context)`."""
        return self._posterior(params, support.flatten(1), of_class(labels, ways))

    def scores(self, params: Tensors, classes: Gaussian, queries: Tensor, norm: Norm) -> Tensor:
        queries = queries.flatten(1)
        alone = torch.eye(len(queries), device=queries.device, dtype=torch.bool)
        posterior = self._posterior(params, queries, alone)
        query = Gaussian(posterior.mean.unsqueeze(1), posterior.log_var.unsqueeze(1))
        if self.divergence == "query_to_class":
            return -kl(query, classes)
        return -kl(classes, query)

    def negative_bound(
        self, params: Tensors, x: Tensor, features: Tensor, *, members: Tensor, key: Tensor
    ) -> Tensor:
        """Minus the variational bound of sets `(sets, pictures)` of pictures x, per picture.

        `sum_D [sum_x (KL(q(z|x,c) || p(z|c)) - log p(x|z,c)) + KL(q(c|D) || N(0,I))] / pictures`,
        with one sample of c and of z from the episode's key. Source: the paper's equation 7 with a
        single layer of latent numbers.
        """
        features = features.flatten(1)
        kept = self._kept(members, key) if self.sample_dropout else members
        posterior = self._posterior(params, features, kept)
        shape = tuple(posterior.mean.shape)
        c = posterior.at(noise.normal(key, "context", shape).to(features.dtype))
        rows = members.T.to(features.dtype)  # which class an example belongs to
        hidden = self._linear(params, "inference.features", features)
        hidden = F.elu(hidden + rows @ self._linear(params, "inference.context", c))
        inferred = self._latent(params, "inference", hidden)
        prior = self._latent(params, "prior", F.elu(self._linear(params, "prior.context", c)))
        prior = Gaussian(rows @ prior.mean, rows @ prior.log_var)
        shape = tuple(inferred.mean.shape)
        z = inferred.at(noise.normal(key, "latent", shape).to(features.dtype))
        decoded = self._decoded(params, z, rows @ self._linear(params, "decoder.context", c))
        surprise = self._surprise(params, decoded, x) + kl(inferred, prior)
        return (surprise.sum() + kl_to_standard(posterior).sum()) / len(x)

    def _posterior(self, params: Tensors, features: Tensor, members: Tensor) -> Gaussian:
        """q(c | D) of sets `(sets, examples)`: a mean over examples, and their number's log."""
        weights = members.to(features.dtype)
        count = weights.sum(1, keepdim=True)
        examples = F.elu(self._linear(params, "statistic.example", features))
        pooled = torch.cat([weights @ examples / count, count.log()], dim=1)
        hidden = F.elu(self._linear(params, "statistic.set", pooled))
        return Gaussian(*self._linear(params, "statistic.out", hidden).chunk(2, dim=-1))

    @staticmethod
    def _kept(members: Tensor, key: Tensor) -> Tensor:
        """A random part of each set, of a random number of examples, from 1 to all of them."""
        shape = tuple(members.shape)
        order = torch.where(members, noise.uniform(key, "sample dropout", shape), 2.0)
        places = order.argsort(1).argsort(1)
        number = noise.uniform(key, "number kept", shape[:1]) * members.sum(1)
        return members & (places <= number.floor().unsqueeze(1))

    def _latent(self, params: Tensors, name: str, hidden: Tensor) -> Gaussian:
        """A residual block of three layers, and the Gaussian that it gives."""
        block = hidden
        for i in range(3):
            block = self._linear(params, f"{name}.{i}", block if i == 0 else F.elu(block))
        numbers = self._linear(params, f"{name}.out", F.elu(hidden + block))
        return Gaussian(*numbers.chunk(2, dim=-1))

    def _decoded(self, params: Tensors, z: Tensor, of_context: Tensor) -> Tensor:
        """Pictures of latent numbers: logits of white, or means."""
        _, height, width = self.picture
        hidden = F.elu(self._linear(params, "decoder.latent", z) + of_context)
        maps = F.elu(self._linear(params, "decoder.maps", hidden)).view(-1, *self._start)
        for name in (f"decoder.{i}.conv" for i in range(HALVINGS)):
            maps = maps.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
            maps = F.elu(F.conv2d(maps, weight, bias, padding=1))
        weight, bias = params["decoder.out.weight"], params["decoder.out.bias"]
        return F.conv2d(maps[:, :, :height, :width], weight, bias)

    def _surprise(self, params: Tensors, decoded: Tensor, x: Tensor) -> Tensor:
        """`-log p(x | z, c)` of each picture.

        Bernoulli: of pixels from 0 to 1, each the probability of white; this is the mean over all
        binarisations of the picture. Gaussian: with one learned variance.
        """
        if self.likelihood == "bernoulli":
            losses = F.softplus(decoded) - decoded * x
        else:
            log_var = params["decoder.log_var"]
            losses = ((x - decoded).square() * (-log_var).exp() + log_var) / 2
        return losses.flatten(1).sum(1)

    @staticmethod
    def _linear(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
        return F.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])

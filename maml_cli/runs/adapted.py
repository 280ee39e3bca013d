"""A learner adapted to one task, in Python: ask it for predictions, or take it as a module."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from maml_cli.core.algorithm import MetaParameters, flat, nested
from maml_cli.core.errors import UsageError
from maml_cli.core.precision import widest
from maml_cli.core.types import Episode
from maml_cli.data.columns import Column
from maml_cli.runs.assembly import Answers, Assembly

Scales = Mapping[str, Tensor]
"""Of `inputs` and `outputs`, where they are numbers with names: see `scale_of`."""


def finite(name: str, values: Tensor) -> Tensor:
    """The numbers, which may be given as a list, too; raises UsageError if one is not finite."""
    values = torch.as_tensor(values)
    if not values.isfinite().all():
        raise UsageError(f"{name} has numbers that are not finite: leave these examples out")
    return values


def scale_of(columns: Sequence[Column]) -> Tensor:
    """Mean and deviation of each column, `(2, columns)`; doubles, as means may be large."""
    pairs = [(c.mean, c.deviation) for c in columns]
    return torch.tensor(pairs, dtype=torch.float64).T


def _on(device: torch.device, scale: Tensor) -> Tensor:
    return scale.to(widest(device)).to(device)


def seen(values: Tensor, scale: Tensor) -> Tensor:
    """The numbers as a network sees them."""
    mean, deviation = _on(values.device, scale)
    found: Tensor = (values - mean) / deviation
    return found


class AdaptedModel:
    """A model of one task."""

    def __init__(self, module: "AdaptedModule") -> None:
        self._module = module

    def predict(self, query_x: Tensor) -> Tensor:
        """Probabilities of the classes, `(queries, ways)`; for curves the values, `(queries, n)`.

        Raises DivergedError if the adaptation diverges.
        """
        outputs: Tensor = self._module(query_x)
        return outputs.softmax(-1) if self._module.classes else outputs

    def to_module(self) -> "AdaptedModule":
        """The same as a module of torch, from inputs to outputs (logits, for classes)."""
        return self._module


class AdaptedModule(nn.Module):
    """From queries `(queries, ...)` to outputs `(queries, outputs)`, without gradients.

    The weights of the run and the support sets are its buffers. Each call adapts anew, so that any
    learner can be one: what a learner makes of a support set may depend on the queries.
    """

    support_x: Tensor
    """`(sets, examples, ...)`: more than one set where classes have different numbers."""
    support_y: Tensor
    key: Tensor
    inputs: Tensor
    """For curves: mean and deviation of each input, `(2, inputs)`."""
    outputs: Tensor

    def __init__(
        self,
        parts: Assembly,
        candidates: Sequence[MetaParameters],
        support_x: Tensor,
        support_y: Tensor,
        key: Tensor,
        *,
        scales: Scales,
    ) -> None:
        super().__init__()
        for name, scale in scales.items():
            self.register_buffer(name, _on(key.device, scale))
        self._scaled = bool(scales)
        self._parts = parts
        self._names = [(list(flat(c.theta)), list(flat(c.state))) for c in candidates]
        for number, candidate in enumerate(candidates):
            for part in ("theta", "state"):
                for place, tensor in enumerate(flat(getattr(candidate, part)).values()):
                    self.register_buffer(f"{part}_{number}_{place}", tensor.detach())
        self.register_buffer("support_x", support_x)
        self.register_buffer("support_y", support_y)
        self.register_buffer("key", key)

    @property
    def steps(self) -> int:
        """Inner steps."""
        return self._parts.steps

    @property
    def classes(self) -> bool:
        """Whether the outputs are logits of classes."""
        return not self.support_y.is_floating_point()

    def forward(self, query_x: Tensor) -> Tensor:
        query_x = finite("query_x", query_x)
        if query_x.shape[1:] != (one := self.support_x.shape[2:]):
            raise UsageError(
                f"query_x has the shape {list(query_x.shape)}: give {['queries', *one]}, as of the "
                "support set"
            )
        if not self._scaled:
            return self.answers(query_x).outputs[0]
        outputs = self.answers(seen(query_x.to(self.inputs.device), self.inputs)).outputs[0]
        mean, deviation = self.outputs
        original: Tensor = outputs * deviation + mean
        return original.to(outputs.dtype)

    def answers(self, query_x: Tensor) -> Answers:
        """The outputs, with their samples if the learner draws any; inputs as networks see them."""
        sets, queries = len(self.support_y), len(query_x)
        classes = torch.arange(self._parts.source.output_size, device=self.key.device)
        of_all = (query_x.to(self.support_x), classes, self.key)
        query_x, classes, key = (field.expand(sets, *field.shape) for field in of_all)
        target = self.support_y[:, :1].expand(-1, queries, *self.support_y.shape[2:])
        batch = Episode(self.support_x, self.support_y, query_x, target, classes, key)
        return self._parts.answers(self._candidates(), batch).averaged()

    def _candidates(self) -> list[MetaParameters]:
        def section(part: str, number: int, names: list[str]) -> dict[str, dict[str, Tensor]]:
            return nested({n: getattr(self, f"{part}_{number}_{i}") for i, n in enumerate(names)})

        return [
            MetaParameters(theta=section("theta", i, theta), state=section("state", i, state))
            for i, (theta, state) in enumerate(self._names)
        ]

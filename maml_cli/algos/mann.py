"""Memory-augmented neural network: an LSTM with a memory that is written where it was least used.

Source: Santoro, Bartunov, Botvinick, Wierstra & Lillicrap 2016, "Meta-learning with
memory-augmented neural networks", section 3.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from torch import Generator, Tensor
from torch.nn.init import xavier_uniform_
from torch.utils._pytree import tree_map

from maml_cli.algos.reading import (
    QUERIES,
    Embedding,
    Gradient,
    ReaderDefaults,
    ReadingLearner,
    Stream,
    StreamReader,
)
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network
from maml_cli.core.schedules import outer_rate
from maml_cli.core.sequences import Examples, one_hot
from maml_cli.core.settings import STRICT, RunSettings, TrainSettings
from maml_cli.core.types import TaskSource, Tensors

DECAY = 0.95
EMPTY = 1e-6
"""What every number of the memory starts at."""


class Memory(NamedTuple):
    """The external memory of some sequences, and how it was used."""

    content: Tensor
    """`(sequences, slots, width)`."""
    usage: Tensor
    """`(sequences, slots)`."""
    read_weights: Tensor
    """Of the last step, `(sequences, heads, slots)`."""


def least_used(usage: Tensor, n: int) -> Tensor:
    """1 at the n slots of smallest usage, else 0; of equal ones the first. As `usage`.

    The paper's formula marks all slots whose usage is at most the n-th smallest, which are nearly
    all of them at the start; here they are always n.
    """
    places = usage.argsort(dim=-1, stable=True)[..., :n]
    slots = torch.arange(usage.shape[-1], device=usage.device)
    return (places.unsqueeze(-1) == slots).any(-2).to(usage.dtype)


def access(memory: Memory, keys: Tensor, gates: Tensor) -> tuple[Tensor, Memory]:
    """Write by least recent use, then read by content: reads `(sequences, heads, width)`.

    For keys k `(sequences, heads, width)` and gates g `(sequences, heads)` in 0 to 1:
    `w_write = g w_read_before + (1 - g) least_used`, the least used slot is set to zero,
    `M <- M + w_write' k`, `w_read = softmax(cos(k, M))`, `r = w_read M`, and
    `usage <- 0.95 usage + sum over heads of (w_read + w_write)`. Source: section 3.2, equations 2
    to 8 and the paragraph after them.
    """
    heads = keys.shape[-2]
    unused = least_used(memory.usage, heads).unsqueeze(-2)
    gate = gates.unsqueeze(-1)
    write = gate * memory.read_weights + (1 - gate) * unused
    kept = 1 - least_used(memory.usage, 1).unsqueeze(-1)
    content = memory.content * kept + write.mT @ keys
    cosine = F.normalize(keys, dim=-1) @ F.normalize(content, dim=-1).mT
    read = cosine.softmax(-1)
    usage = DECAY * memory.usage + (read + write).sum(-2)
    return read @ content, Memory(content, usage, read)


class State(NamedTuple):
    """Everything that some sequences remember between two steps."""

    hidden: Tensor
    """The LSTM's, `(sequences, units)`."""
    cell: Tensor
    memory: Memory | None
    reads: Tensor
    """What was read, `(sequences, heads * width)`."""
    label: Tensor
    """The label that the next input comes with: that of the last one, `(sequences, ways)`."""


@dataclass(frozen=True, kw_only=True)
class Controller(StreamReader):
    """An LSTM that sees an input and the label of the input before it, and reads the memory.

    The memory belongs to a task; it is neither trained nor saved.
    """

    features: int
    ways: int
    units: int
    slots: int
    """0: a plain LSTM."""
    width: int
    heads: int

    @property
    def _reads(self) -> int:
        """Numbers that are read at a step."""
        return self.heads * self.width if self.slots else 0

    def init(self, generator: Generator) -> dict[str, Tensor]:
        inputs = self.features + self.ways + self._reads + self.units
        sizes = {"gates": (inputs, 4 * self.units)}
        if self.slots:
            sizes |= {"keys": (self.units, self._reads), "write": (self.units, self.heads)}
        sizes["output"] = (self.units + self._reads, self.ways)
        params: dict[str, Tensor] = {}
        for name, (fan_in, fan_out) in sizes.items():
            weight = torch.empty(fan_out, fan_in)
            params[f"{name}.weight"] = xavier_uniform_(weight, generator=generator)
            params[f"{name}.bias"] = torch.zeros(fan_out)
        return params

    def begin(self, like: Tensor) -> State:
        """Before a sequence: nothing but slot 1 has been used."""
        zeros = like.new_zeros(1, self.units)
        memory = None
        if self.slots:
            first = F.pad(like.new_ones(1, 1), (0, self.slots - 1))
            memory = Memory(
                content=like.new_full((1, self.slots, self.width), EMPTY),
                usage=first,
                read_weights=first.unsqueeze(1).expand(-1, self.heads, -1),
            )
        reads, label = like.new_zeros(1, self._reads), like.new_zeros(1, self.ways)
        return State(zeros, zeros, memory, reads, label)

    def step(self, params: Tensors, state: State, x: Tensor) -> tuple[Tensor, State]:
        """Outputs `(sequences, ways)` for inputs x, and the state, its label not yet changed."""
        seen = torch.cat([x, state.label, state.reads, state.hidden], -1)
        enter, forget, leave, candidate = _linear(params, "gates", seen).chunk(4, -1)
        cell = forget.sigmoid() * state.cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        memory, reads = state.memory, state.reads
        if memory is not None:
            keys = _linear(params, "keys", hidden).tanh().view(-1, self.heads, self.width)
            found, memory = access(memory, keys, _linear(params, "write", hidden).sigmoid())
            reads = found.flatten(-2)
        outputs = _linear(params, "output", torch.cat([hidden, reads], -1))
        return outputs, State(hidden, cell, memory, reads, state.label)

    def _run(self, params: Tensors, examples: Examples) -> tuple[Tensor, State]:
        """The outputs for a sequence, each from the labels of earlier inputs; the last state."""
        state, outputs = self.begin(examples.x), []
        for x, label in zip(examples.x, one_hot(examples.y, self.ways, examples.x), strict=True):
            output, state = self.step(params, state, x.unsqueeze(0))
            state = state._replace(label=label.unsqueeze(0))
            outputs.append(output)
        return torch.cat(outputs), state

    def stream(self, params: Tensors, examples: Examples) -> Tensor:
        return self._run(params, examples)[0]

    def read(self, params: Tensors, support: Examples, gradient: Gradient) -> State:
        return self._run(params, support)[1]

    def answer(self, params: Tensors, memory: State, x: Tensor) -> Tensor:
        """One more step for each query; it comes with the last label of the support set."""

        def repeated(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.expand(len(x), *t.shape[1:])

        return self.step(params, tree_map(repeated, memory), x)[0]


def _linear(params: Tensors, name: str, x: Tensor) -> Tensor:
    return F.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])


@settings(frozen=True, kw_only=True, config=STRICT)
class MANN(ReaderDefaults):
    """The settings of the memory-augmented network."""

    name: str
    memory: Annotated[bool, Field(description="false: the LSTM alone, the paper's ablation")]
    units: Annotated[int, Field(ge=1, le=65536, description="of the LSTM")]
    slots: Annotated[int, Field(ge=1, le=65536, description="rows of the memory")]
    width: Annotated[int, Field(ge=1, le=65536, description="numbers per row")]
    heads: Annotated[int, Field(ge=1, le=64, description="read heads, and as many write heads")]
    lesson: Annotated[
        Literal["queries", "stream"],
        Field(
            description="training asks the queries, or every example of one sequence of support "
            "set and queries, as the paper does"
        ),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each thing that cannot be."""
        if problems := self.check_classes(experiment):
            return problems
        problems = super().check(experiment)
        if self.memory and self.slots < self.heads:
            problems.append(
                f"algo.slots={self.slots} is below algo.heads={self.heads}, but as many slots are "
                "written at each step as there are heads: raise algo.slots"
            )
        return problems

    def most_shots(self, run: RunSettings) -> int:
        """As many as before the last example of a training sequence.

        With longer sequences the answers become worse, not better.
        """
        shots = run.shots_in("train")
        return shots + run.queries_in("train") - 1 if self.lesson == "stream" else shots

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force."""
        return {"memory": self.memory, "lesson": self.lesson}

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> ReadingLearner:
        """Turn the settings into parts."""
        embedding = Embedding(network=network)
        reader = Controller(
            features=embedding.size,
            ways=source.output_size,
            units=self.units,
            slots=self.slots if self.memory else 0,
            width=self.width,
            heads=self.heads,
        )
        return ReadingLearner(
            reader=reader,
            embedding=embedding,
            objective=source.objective,
            outer_lr_schedule=outer_rate(train),
            bn_stats=train.bn_stats,
            lesson=Stream(in_rounds=False) if self.lesson == "stream" else QUERIES,
        )

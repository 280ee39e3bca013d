"""An LSTM with a memory that is written where it was least recently used.

Source: Santoro, Bartunov, Botvinick, Wierstra & Lillicrap 2016, "Meta-learning with
memory-augmented neural networks", section 3.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.utils._pytree import tree_map

from maml_cli.core.types import Tensors
from maml_cli.readers.linear_maps import fresh, linear
from maml_cli.readers.reader import Gradient, StreamReader
from maml_cli.readers.sequences import Examples, one_hot

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
        return fresh(sizes, generator)

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
        enter, forget, leave, candidate = linear(params, "gates", seen).chunk(4, -1)
        cell = forget.sigmoid() * state.cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        memory, reads = state.memory, state.reads
        if memory is not None:
            keys = linear(params, "keys", hidden).tanh().view(-1, self.heads, self.width)
            found, memory = access(memory, keys, linear(params, "write", hidden).sigmoid())
            reads = found.flatten(-2)
        outputs = linear(params, "output", torch.cat([hidden, reads], -1))
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

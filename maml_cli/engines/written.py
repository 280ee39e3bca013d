"""A function's tensor operations, written down in a row while it runs on tensors without values.

torch's `make_fx` writes the same row and takes several times as long: it keeps for each operation
what a compiler needs, and nothing is compiled here.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten


def written(function: Callable[[list[Tensor]], list[Tensor]], example: list[Tensor]) -> GraphModule:
    """The function's operations on a list of tensors of these shapes, as a module that takes it.

    Tensors that the function reads without being given them are the module's own. Raises
    RuntimeError where the function reads a value back, as the module would hold it forever.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        # each in memory of its own: inputs that share memory now may not later
        inputs = [
            torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device)
            for t in example
        ]
        with _Writing(inputs) as row:
            found = function(inputs)
    row.graph.output([row.node(tensor) for tensor in found])
    row.graph.eliminate_dead_code()
    return GraphModule(row.constants, row.graph)


class _Writing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes what reaches torch's kernels: below differentiation, and with the tasks batched."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph()
        self.constants = torch.nn.Module()
        self._known: dict[int, tuple[Tensor, Node]] = {}
        """The node of a tensor by its id; the tensor is kept, so that no other gets this id."""
        self._views: dict[tuple[Any, ...], Node] = {}
        """The node of a tensor by its place in memory."""
        self._learn(inputs, self.graph.placeholder("values"))

    def __torch_dispatch__(
        self,
        operation: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        found = operation(*args, **kwargs)
        if isinstance(found, torch.device):  # torch asks for it at every operation
            return found
        if (same := self._shown(operation, found)) is not None:
            self._learn(found, same)
            return found
        if operation is ATEN.lift_fresh.default:  # a constant, which no operation may change
            operation = ATEN.lift_fresh_copy.default
        named = {name: self._told(value) for name, value in kwargs.items()}
        self._learn(found, self.graph.call_function(operation, self._told(args), named))
        return found

    def _shown(self, operation: Any, found: object) -> Node | None:
        """The node of a tensor that is known and shows what this view shows, as most views do."""
        views = operation.is_view or operation is ATEN._unsafe_view.default
        return self._views.get(_view(found)) if views and isinstance(found, Tensor) else None

    def _told(self, value: Any) -> Any:
        """The argument of an operation, with nodes for tensors."""
        if isinstance(value, Tensor):
            return self.node(value)
        if isinstance(value, (list, tuple)):
            return type(value)([self._told(item) for item in value])
        return value

    def node(self, tensor: Tensor) -> Node:
        """What makes the tensor; one that nothing here has made is a constant."""
        if id(tensor) not in self._known:
            name = f"constant_{len(self._known)}"
            self.constants.register_buffer(name, tensor)
            self._learn(tensor, self.graph.get_attr(name))
        return self._known[id(tensor)][1]

    def _learn(self, found: object, node: Node) -> None:
        if isinstance(found, Tensor):
            self._known[id(found)] = found, node
            self._views.setdefault(_view(found), node)
        elif isinstance(found, Sequence):
            for place, item in enumerate(found):
                if isinstance(item, Tensor):
                    self._learn(item, self.graph.call_function(getitem, (node, place)))


def _view(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for tensors that show the same memory in the same way."""
    storage = tensor.untyped_storage()._cdata
    return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype

"""What cannot be done right with somebody's module is refused with the layer's name.

Known layers are refused by their type. Everything else is tried: the outputs for an example must
not depend on the other examples of its batch, nor on the mode of the module, nor on chance, and a
pass must leave the module as it was.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from maml_cli.backbones.module_norms import is_driven
from maml_cli.core.errors import UsageError
from maml_cli.core.network import Network
from maml_cli.core.norms import GivenStats

TOLERANCE = 1e-4


def refusals(module: nn.Module) -> list[str]:
    """One sentence for each layer whose type says that it cannot be done right."""
    return list(_refusals(module))


def _refusals(module: nn.Module) -> Iterator[str]:
    for name, layer in module.named_modules():
        kind = type(layer).__name__
        if isinstance(layer, _NormBase) and not is_driven(layer) and layer.track_running_stats:
            yield (
                f"layer {name} is {kind} with running statistics of its own, which evaluation "
                "would change: set its track_running_stats=False"
            )
        dropped = layer.p if isinstance(layer, _DropoutNd) else getattr(layer, "dropout", 0)
        if isinstance(dropped, int | float) and dropped > 0:
            yield (
                f"layer {name} is {kind} with p={dropped}: its noise would not be reproducible; "
                "set p to 0 by backbone.arguments, or leave the layer out"
            )


def runs_batched(network: Network, template: nn.Module, x: Tensor) -> bool:
    """Whether the network and its second derivatives run inside of `torch.func.vmap`."""
    statistics = network.init_statistics()

    def sum_of_features(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return network.features(params, x.unsqueeze(0), GivenStats(statistics)).sum()

    def of_gradient(params: dict[str, Tensor], x: Tensor) -> Tensor:
        gradient = torch.func.grad(sum_of_features)(params, x)
        return torch.stack([g.square().sum() for g in gradient.values()]).sum()

    params = {f"body.{n}": p.detach() for n, p in template.named_parameters()}
    if not params:
        return True
    try:
        torch.func.vmap(torch.func.grad(of_gradient), in_dims=(None, 0))(params, x)
    except (RuntimeError, ValueError, NotImplementedError):  # torch names no single one
        return False
    return True


def check_behaviour(network: Network, template: nn.Module, x: Tensor, module: str) -> None:
    """Raise UsageError where a pass does what was not declared."""
    params = {f"body.{n}": p.detach() for n, p in template.named_parameters()}
    statistics = network.init_statistics()

    def outputs(batch: Tensor) -> Tensor:
        return network.features(params, batch, GivenStats(statistics))

    def run(batch: Tensor, *, train: bool) -> dict[str, Tensor]:
        """The outputs of every layer, the whole module's last."""
        driver = network._driver()  # type: ignore[attr-defined]
        driver.module.train(train)
        found: dict[str, Tensor] = {}
        hooks = [
            layer.register_forward_hook(_remember(found, name))
            for name, layer in driver.module.named_modules()
            if name
        ]
        try:
            with torch.no_grad():
                found[""] = outputs(batch)
        finally:
            for hook in hooks:
                hook.remove()
            driver.module.eval()
        return found

    whole = run(x, train=False)
    single = [run(x[i : i + 1], train=False) for i in range(len(x))]
    joined = {n: torch.cat([s[n] for s in single]) for n in whole if all(n in s for s in single)}
    problems = {
        "mixes the examples of a batch, but is no batch norm of torch.nn: use torch.nn.BatchNorm1d "
        "or 2d, which are driven, or a norm of single examples such as GroupNorm": joined,
        "answers differently in training mode, by noise or by statistics of its own: leave it out, "
        "or set its probability to 0": run(x, train=True),
        "does not repeat its outputs for equal inputs: leave its noise or its memory out": run(
            x, train=False
        ),
    }
    for problem, other in problems.items():
        if (layer := _first_difference(whole, other)) is not None:
            own = f"its own forward{f', before the layer {layer[:-3]},' if layer else ''}"
            named = own if layer.endswith(" in") or not layer else f"layer {layer}"
            raise UsageError(f"backbone.module={module}: {named} {problem}")


def _remember(found: dict[str, Tensor], name: str) -> Callable[..., None]:
    def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            found[f"{name} in"] = inputs[0]
        if isinstance(output, Tensor):
            found[name] = output

    return hook


def _first_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> str | None:
    """The first layer, in the order of the pass, whose outputs differ; "" is the whole module.

    With ` in` after its name, already the layer's inputs differ, and no layer's outputs before.
    """
    for name, tensor in one.items():
        if name not in other or other[name].shape != tensor.shape:
            if name == "":
                return name
            continue
        scale = tensor.abs().max().clamp_min(1)
        if not torch.allclose(tensor, other[name], rtol=TOLERANCE, atol=TOLERANCE * float(scale)):
            return name
    return None

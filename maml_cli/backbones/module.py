"""Anybody's `torch.nn.Module` as a network: its batch norms and its last layer are found."""

import math
from pkgutil import resolve_name
from threading import local
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Generator, Tensor, nn
from torch.func import functional_call

from maml_cli.backbones.module_checks import check_behaviour, refusals, runs_batched
from maml_cli.backbones.module_norms import Driver, drive, find_sources, is_driven
from maml_cli.backbones.module_weights import load_weights
from maml_cli.core.errors import UsageError
from maml_cli.core.network import Network
from maml_cli.core.norms import Norm
from maml_cli.core.settings import STRICT
from maml_cli.core.torchvision_guard import import_torchvision
from maml_cli.core.types import Tensors

BODY = "body."
"""Before the module's own names, so that none of them can be a head's."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Module:
    """The settings of a network that is a `torch.nn.Module` of somebody's own."""

    names_code: ClassVar[tuple[str, ...]] = ("module",)
    """Keys whose values are imported, and so must be trusted."""

    name: str
    module: Annotated[
        str,
        Field(min_length=1, description="package.Class, or a function that returns a module"),
    ]
    arguments: Annotated[
        dict[str, Any] | None, Field(description="of that class, as {key: value}; null: none")
    ]
    channels: Annotated[
        int | None,
        Field(ge=1, description="images of one channel are repeated to so many; null: as they are"),
    ]
    head: Annotated[
        str | None,
        Field(description="name of the last linear layer, which is replaced; null: it is found"),
    ]
    weights: Annotated[
        str | None, Field(description="a file with the module's state_dict to start from")
    ]

    def make(self) -> nn.Module:
        """A new module; raises UsageError."""
        try:
            made = _found(self.module)(**(self.arguments or {}))
        except Exception as error:  # whatever the import or somebody's constructor raises
            raise UsageError(self._reason(error)) from error
        if not isinstance(made, nn.Module):
            raise UsageError(
                f"backbone.module={self.module} makes a {type(made).__name__}: it must be a class "
                "derived from torch.nn.Module, or a function that returns such a module"
            )
        return made

    def _reason(self, error: Exception) -> str:
        said = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
        if isinstance(error, ImportError | AttributeError | ValueError):
            return (
                f"backbone.module={self.module} cannot be found ({said}): write package.Class, and "
                "start the command in the folder that has the package, or add --module-path FOLDER"
            )
        return (
            f"backbone.module={self.module} cannot be made with backbone.arguments="
            f"{self.arguments or {}} ({said}): give it the arguments that it takes"
        )

    def check(self) -> list[str]:
        """One sentence if the module cannot be made."""
        try:
            self.make()
        except UsageError as error:
            return list(error.messages)
        return []

    def build(self, input_shape: tuple[int, ...]) -> Network:
        """The network for inputs of that shape; raises UsageError."""
        return ModuleNetwork(self, input_shape)


def _found(name: str) -> Any:
    """The class or function of that name, also where it needs torchvision beside a CPU build."""
    try:
        return resolve_name(name)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import_torchvision("torchvision")
        return resolve_name(name)


class ModuleNetwork(Network):
    """See `Module`; parameters have the module's own names, after `body.`."""

    def __init__(self, settings: Module, input_shape: tuple[int, ...]) -> None:
        self._settings, self.input_shape = settings, input_shape
        channels, *rest = input_shape
        self._repeats = (settings.channels or channels) // channels
        if channels * self._repeats != (settings.channels or channels) or (
            self._repeats > 1 and channels != 1
        ):
            raise UsageError(
                f"backbone.channels={settings.channels}: inputs have {channels} channels, and only "
                "one channel can be repeated: set backbone.channels=null"
            )
        self._example = torch.rand(3, channels, *rest, generator=Generator().manual_seed(0))
        module = settings.make()
        self._try(module, self._example)  # lazy layers take their shapes here
        if problems := refusals(module):
            raise UsageError(*(f"backbone.module={settings.module}: {p}" for p in problems))
        self._head = self._find_head(module)
        self.norms = {
            f"{BODY}{name}": layer.num_features
            for name, layer in module.named_modules()
            if is_driven(layer)
        }
        self.convolutional = any(p.ndim > 3 for p in module.parameters())
        self._template, self._own = self._prepared(module), local()
        self.feature_shape = tuple(self._try(self._template, self._example).shape[1:])
        check_behaviour(self, self._template, self._example, settings.module)
        self.batches = runs_batched(self, self._template, self._example)
        what = f"the layer {self._head}, which is replaced" if self._head else "none of its own"
        self.remarks = (f"backbone.module={settings.module}: the head is {what}",)

    def _try(self, module: nn.Module, x: Tensor) -> Tensor:
        """The module's outputs; raises UsageError where it does not take such inputs."""
        try:
            with torch.no_grad():
                outputs = module(self._repeated(x))
        except Exception as error:  # whatever somebody's forward raises
            raise UsageError(
                f"backbone.module={self._settings.module} does not take inputs of shape "
                f"{tuple(x.shape)} ({type(error).__name__}: "
                f"{next(iter(str(error).splitlines()), '')}): give it fitting "
                "backbone.arguments, or set backbone.channels=3 to repeat a single channel"
            ) from error
        if not isinstance(outputs, Tensor) or outputs.ndim < 2 or len(outputs) != len(x):
            raise UsageError(
                f"backbone.module={self._settings.module} returns "
                f"{type(outputs).__name__} for {len(x)} inputs: it must return one tensor with a "
                "row for each input"
            )
        return outputs

    def _repeated(self, x: Tensor) -> Tensor:
        return x.repeat(1, self._repeats, *[1] * (x.ndim - 2)) if self._repeats > 1 else x

    def _find_head(self, module: nn.Module) -> str | None:
        """The name of the linear layer whose outputs are the module's, if there is one."""
        asked = self._settings.head
        layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
        if asked is not None and asked not in layers:
            raise UsageError(
                f"backbone.head={asked}: {self._settings.module} has no linear layer of that name; "
                f"it has {', '.join(layers) or 'none'}"
            )
        outputs: dict[str, Tensor] = {}
        hooks = [
            layer.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
            for name, layer in layers.items()
        ]
        final = self._try(module, self._example)
        for hook in hooks:
            hook.remove()
        last = [n for n, out in outputs.items() if out is final or torch.equal(out, final)]
        if asked is not None and asked not in last:
            raise UsageError(
                f"backbone.head={asked}: the outputs of {self._settings.module} are not those of "
                "this layer, so it is not the last one"
                + (f"; it is {last[-1]}" if last else ": leave backbone.head=null")
            )
        return asked or (last[-1] if last else None)

    def _prepared(self, module: nn.Module) -> nn.Module:
        """The module without its head, its batch norms driven from outside, in evaluation mode."""
        if self._head is not None:
            if self._head == "":
                module = nn.Identity()
            else:
                module.set_submodule(self._head, nn.Identity())
        sources = find_sources(module, lambda: self._try(module, self._example))
        return drive(module, BODY, sources).eval().requires_grad_(requires_grad=False)

    def init(self, generator: Generator) -> dict[str, Tensor]:
        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self._settings.make()
            self._try(module, self._example)  # lazy layers take their shapes here
        if self._settings.weights is not None:
            load_weights(module, self._settings.weights, head=self._head)
        return {
            f"{BODY}{n}": p.detach().clone()
            for n, p in module.named_parameters()
            if not self._of_head(n)
        }

    def init_head(self, outputs: int, generator: Generator) -> dict[str, Tensor]:
        """As torch's linear layers start: uniform in +-1 / sqrt(features)."""
        features = math.prod(self.feature_shape)
        bound = features**-0.5
        return {
            "head.weight": torch.empty(outputs, features).uniform_(
                -bound, bound, generator=generator
            ),
            "head.bias": torch.empty(outputs).uniform_(-bound, bound, generator=generator),
        }

    def init_statistics(self) -> dict[str, Tensor]:
        statistics = super().init_statistics()
        if self._settings.weights is None:
            return statistics
        module = self._settings.make()
        load_weights(module, self._settings.weights, head=self._head)
        for name, layer in module.named_modules():
            for kind in ("mean", "var") if is_driven(layer) else ():
                running = getattr(layer, f"running_{kind}")
                if running is not None:
                    statistics[f"{BODY}{name}.{kind}"] = running.clone()
        return statistics

    def features(self, params: Tensors, x: Tensor, norm: Norm) -> Tensor:
        driver: Driver = self._driver()
        own = {n.removeprefix(BODY): p for n, p in params.items() if n.startswith(BODY)}
        buffers = {
            n: b.to(x.device, x.dtype if b.is_floating_point() else b.dtype)
            for n, b in driver.module.named_buffers()
        }
        with driver.by(norm):
            found: Tensor = functional_call(driver.module, {**buffers, **own}, self._repeated(x))
        return found

    def _driver(self) -> Driver:
        """A copy of the module for this thread: functional calls put parameters into the module."""
        if not hasattr(self._own, "driver"):
            self._own.driver = Driver(self._template)
        driver: Driver = self._own.driver
        return driver

    def _of_head(self, name: str) -> bool:
        return self._head is not None and name in (f"{self._head}.weight", f"{self._head}.bias")

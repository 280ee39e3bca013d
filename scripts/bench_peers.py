"""The other side of `bench.py`: the same iteration by other code, from our weights."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from bench_cases import STEPS, Case
from official_code import official_system, train_step
from torch import Tensor, nn

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.torchvision_guard import import_torchvision
from maml_cli.core.types import Episode

Step = Callable[[Episode], float]
NO_COUNTERPART = "it has no counterpart of this step"


@dataclass(frozen=True)
class Peer:
    """Another code: how to build its iteration, and what keeps it from running."""

    build: Callable[[Case, MetaParameters, Path | None], Step]
    missing: Callable[[Case, Path | None], str | None]


def peer_step(peer: str, case: Case, params: MetaParameters, htym: Path | None) -> Step:
    """A peer's outer iteration, Adam step included, starting from our weights."""
    return PEERS[peer].build(case, params, htym)


def _htym(case: Case, params: MetaParameters, path: Path | None) -> Step:
    """The official MAML++ code, unchanged, with the settings of the case."""
    if path is None:
        raise ValueError("no path of the official code")
    system = official_system(path, case.experiment, case.image, params)
    return lambda episodes: train_step(system, episodes, case.ways, epoch=0)


class _Network(nn.Module):
    """Our network as a torch module; gains and biases of the batch norms are constants here."""

    def __init__(self, case: Case, params: MetaParameters) -> None:
        super().__init__()
        theta = {n: t.clone() for n, t in params.theta["model"].items()}
        channels = case.image[0]
        layers: list[nn.Module] = []
        for block in range(4):
            conv = nn.Conv2d(channels, case.filters, 3, padding=1)
            conv.weight.data = theta[f"body.{block}.conv.weight"]
            conv.bias.data = theta[f"body.{block}.conv.bias"]
            norm = nn.BatchNorm2d(case.filters, affine=False, track_running_stats=False)
            layers += [conv, norm, nn.LeakyReLU(0.01), nn.MaxPool2d(2)]
            channels = case.filters
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(theta["head.weight"].shape[1], case.ways)
        self.head.weight.data, self.head.bias.data = theta["head.weight"], theta["head.bias"]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def tasks_of(episodes: Episode) -> list[Episode]:
    """The episodes of a batch."""
    return [Episode(*fields) for fields in zip(*episodes, strict=True)]


def _higher(case: Case, params: MetaParameters, _: Path | None) -> Step:
    import higher

    network = _Network(case, params)
    inner = torch.optim.SGD(network.parameters(), lr=case.experiment.algo.inner_lr)
    outer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(episodes: Episode) -> float:
        outer.zero_grad()
        total = 0.0
        for task in tasks_of(episodes):
            with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (phi, descent):
                loss = torch.zeros(())
                for _ in range(STEPS):
                    descent.step(F.cross_entropy(phi(task.support_x), task.support_y))
                    loss = loss + F.cross_entropy(phi(task.query_x), task.query_y) / STEPS
                (loss / case.tasks).backward()
                total += loss.item() / case.tasks
        outer.step()
        return total

    return step


def _torchopt(case: Case, params: MetaParameters, _: Path | None) -> Step:
    import torchopt

    network = _Network(case, params)
    inner = torchopt.MetaSGD(network, lr=case.experiment.algo.inner_lr)
    outer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(episodes: Episode) -> float:
        outer.zero_grad()
        total = 0.0
        start: Any = torchopt.extract_state_dict(network, by="reference")
        inner_start: Any = torchopt.extract_state_dict(inner, by="reference")
        for task in tasks_of(episodes):
            loss = torch.zeros(())
            for _ in range(STEPS):
                inner.step(F.cross_entropy(network(task.support_x), task.support_y))
                loss = loss + F.cross_entropy(network(task.query_x), task.query_y) / STEPS
            (loss / case.tasks).backward()
            total += loss.item() / case.tasks
            torchopt.recover_state_dict(network, start)
            torchopt.recover_state_dict(inner, inner_start)
        outer.step()
        return total

    return step


def body_of(case: Case, params: MetaParameters) -> nn.Module:
    """Our network without a head as a torch module, with our weights; batch norms learn."""
    theta, channels = params.theta["model"], case.image[0]
    layers: list[nn.Module] = []
    for block in range(4):
        conv = nn.Conv2d(channels, case.filters, 3, padding=1)
        norm = nn.BatchNorm2d(case.filters)
        for name, module in (("conv", conv), ("norm", norm)):
            for part in ("weight", "bias"):
                getattr(module, part).data = theta[f"body.{block}.{name}.{part}"].clone()
        layers += [conv, norm, nn.LeakyReLU(0.01), nn.MaxPool2d(2)]
        channels = case.filters
    return nn.Sequential(*layers, nn.Flatten())


def _easyfsl(case: Case, params: MetaParameters, _: Path | None) -> Step:
    import_torchvision("torchvision")  # which easyfsl imports
    from easyfsl.methods import PrototypicalNetworks

    learner = PrototypicalNetworks(body_of(case, params))
    outer = torch.optim.Adam(learner.parameters(), lr=1e-3)

    def step(episodes: Episode) -> float:
        (task,) = tasks_of(episodes)
        outer.zero_grad()
        learner.process_support_set(task.support_x, task.support_y)
        distances = learner(task.query_x)  # minus the plain ones
        loss = F.cross_entropy(-distances.square(), task.query_y)
        loss.backward()
        outer.step()
        return loss.item()

    return step


def _learn2learn(case: Case, params: MetaParameters, _: Path | None) -> Step:
    import_torchvision("torchvision")  # which learn2learn imports
    from learn2learn.nn import PrototypicalClassifier

    network, classifier = body_of(case, params), PrototypicalClassifier()
    outer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(episodes: Episode) -> float:
        (task,) = tasks_of(episodes)
        outer.zero_grad()
        features = network(torch.cat([task.support_x, task.query_x]))
        support, query = features.split([len(task.support_x), len(task.query_x)])
        classifier.fit_(support, task.support_y)
        loss = F.cross_entropy(classifier(query), task.query_y)
        loss.backward()
        outer.step()
        return loss.item()

    return step


def _without_path(case: Case, path: Path | None) -> str | None:
    if case.algo in ("anil", "protonet"):
        return NO_COUNTERPART
    return None if path else "no --htym PATH"


def _without_package(
    name: str, algo: str, **switches: str
) -> Callable[[Case, Path | None], str | None]:
    def missing(case: Case, _: Path | None) -> str | None:
        if case.algo != algo or not switches.items() <= case.switches.items():
            return NO_COUNTERPART
        return None if importlib.util.find_spec(name) else f"No module named '{name}'"

    return missing


PEERS = {
    "htym": Peer(_htym, _without_path),
    "higher": Peer(_higher, _without_package("higher", "maml")),
    "torchopt": Peer(_torchopt, _without_package("torchopt", "maml")),
    "easyfsl": Peer(_easyfsl, _without_package("easyfsl", "protonet", joint_norm="false")),
    "learn2learn": Peer(
        _learn2learn, _without_package("learn2learn", "protonet", joint_norm="true")
    ),
}

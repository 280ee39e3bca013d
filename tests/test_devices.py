"""Which device a run takes, what is said where it is not there, and what Apple's GPUs lack."""

import pytest
import torch
from problems import TRAIN, shipped
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from maml_cli.core import noise, precision
from maml_cli.core.errors import UsageError
from maml_cli.distributed import ranks
from maml_cli.engines.choice import choose_engine
from maml_cli.engines.vmap import Vmap
from maml_cli.inner import directions, laplace
from maml_cli.runs.devices import choose_device
from maml_cli.testing import regression
from maml_cli.testing.contract import on_meta

MPS = torch.device("mps")


@pytest.fixture
def machine(monkeypatch):
    """A machine with these GPUs, which is not asked to compute; the current GPU is noted."""
    current = []

    def has(gpus=0, mps=False, processes=1, rank=0):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "set_device", current.append)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(ranks, "size", lambda: processes)
        monkeypatch.setattr(ranks, "local_rank", lambda: rank)
        return current

    before = torch.backends.fp32_precision
    yield has
    torch.backends.fp32_precision = before


@pytest.mark.parametrize(
    ("name", "has", "chosen"),
    [
        ("auto", {}, "cpu"),
        ("auto", {"mps": True}, "cpu"),
        ("auto", {"gpus": 2}, "cuda:0"),
        ("cpu", {"gpus": 2}, "cpu"),
        ("cuda", {"gpus": 2}, "cuda:0"),
        ("cuda", {"gpus": 2, "processes": 2, "rank": 1}, "cuda:1"),
        ("cuda:1", {"gpus": 2}, "cuda:1"),
        ("mps", {"mps": True}, "mps"),
    ],
)
def test_the_device_that_is_taken(machine, name, has, chosen):
    current = machine(**has)
    assert choose_device(name) == torch.device(chosen)
    assert current == ([int(chosen[-1])] if chosen.startswith("cuda") else [])


@pytest.mark.parametrize(
    ("name", "has", "said"),
    [
        ("cuda", {}, "device=cuda: torch finds no cuda:0 here: choose device=cpu$"),
        ("cuda:2", {"gpus": 2}, "no cuda:2 here: choose device=cpu or cuda:0 or cuda:1$"),
        ("mps", {"gpus": 1}, "device=mps: torch finds no mps here: choose device=cpu or cuda:0$"),
        ("cuda", {"mps": True}, "no cuda:0 here: choose device=cpu or mps$"),
        ("cuda", {"gpus": 1, "processes": 2, "rank": 1}, "--nproc-per-node is above the number"),
        ("cuda:1", {"gpus": 2, "processes": 2}, "takes a GPU of its own: set device=cuda$"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(machine, name, has, said):
    machine(**has)
    with pytest.raises(UsageError, match=said):
        choose_device(name)


def test_an_apple_gpu_computes_batched_and_records_nothing():
    assert choose_engine("auto", MPS, convolutional=True) == "vmap"
    assert choose_engine("auto", MPS, convolutional=False) == "vmap"
    assert choose_engine("auto", MPS, convolutional=False, batches=False) == "loop"
    for name in ("graph", "processes"):
        with pytest.raises(UsageError, match=f"engine={name} is .*: leave it out, or set vmap"):
            choose_engine(name, MPS, convolutional=False)


def test_an_apple_gpu_has_no_float64():
    assert precision.widest(MPS) is torch.float32
    assert precision.widest(torch.device("cpu")) is torch.float64


class NoFloat64(TorchDispatchMode):
    """Raises where an Apple GPU would: where a float64 tensor is made on the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor) and leaf.device.type == "meta":
                assert leaf.dtype is not torch.float64, function
        return found


@pytest.fixture
def as_on_an_apple_gpu(monkeypatch):
    """The meta device with the numbers of an Apple GPU."""
    for module in (noise, laplace, directions):
        monkeypatch.setattr(module, "widest", lambda _: torch.float32)
    monkeypatch.setattr(noise, "_exact", lambda key: key)
    monkeypatch.setattr(  # computed on the CPU there; the meta device has no values to send
        noise, "_uniform", lambda *inputs: torch.empty(inputs[2], device="meta")
    )


@pytest.mark.usefixtures("as_on_an_apple_gpu")
@pytest.mark.parametrize(
    ("algo", "changes"),
    [
        ("maml", {"inner_steps": 2, "inner_optimizer": "adam"}),  # counts its steps
        ("mtnet", {"inner_steps": 2}),  # draws masks
        ("llama", {"inner_steps": 1, "laplace_weight": 0.1}),  # has a determinant
        ("platipus", {"inner_steps": 1, "samples": 2}),  # draws starts
    ],
)
def test_algorithms_need_no_float64_on_the_device(algo, changes):
    problem = regression()
    algorithm = shipped("algo", algo, **changes).build(problem.network, problem.source, TRAIN)
    with NoFloat64():
        step = on_meta(algorithm, problem, Vmap)
    assert step.loss.dtype is torch.float32

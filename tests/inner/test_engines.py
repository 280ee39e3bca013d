"""Which engine computes the tasks of a batch, and which cannot."""

import pytest
import torch
from problems import TRAIN, FakeSource, Line, maml

from maml_cli.core.errors import UsageError
from maml_cli.distributed import ranks
from maml_cli.engines import processes
from maml_cli.engines.choice import choose_engine, make_engine

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def machine(monkeypatch):
    def has(*, cores=2, linux=True, size=1):
        monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
        monkeypatch.setattr(processes, "AVAILABLE", linux)
        monkeypatch.setattr(ranks, "size", lambda: size)

    return has


@pytest.mark.parametrize(
    ("device", "convolutional", "has", "chosen"),
    [
        (CPU, True, {}, "processes"),
        (CPU, True, {"cores": 1}, "threads"),
        (CPU, True, {"linux": False}, "threads"),
        (CPU, True, {"size": 2}, "threads"),
        (CPU, False, {}, "graph"),
        (CPU, False, {"size": 2}, "vmap"),
        (GPU, True, {}, "graph"),
        (GPU, False, {}, "graph"),
        (GPU, True, {"size": 2}, "vmap"),
    ],
)
def test_what_is_chosen(machine, device, convolutional, has, chosen):
    machine(**has)
    assert choose_engine("auto", device, convolutional=convolutional) == chosen


@pytest.mark.parametrize(
    ("name", "device", "has", "problem"),
    [
        ("processes", CPU, {"linux": False}, "engine=processes needs Linux"),
        ("processes", GPU, {}, "engine=processes is for a CPU"),
        ("processes", CPU, {"size": 2}, "engine=processes is not for torchrun"),
        ("graph", GPU, {"size": 2}, "engine=graph is not for torchrun"),
    ],
)
def test_what_cannot_be(machine, name, device, has, problem):
    machine(**has)
    with pytest.raises(UsageError, match=f"{problem}: leave it out"):
        choose_engine(name, device, convolutional=True)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # pytest has threads too
@pytest.mark.parametrize("name", ["loop", "threads", "processes", "vmap", "graph"])
def test_the_name_is_shown_with_the_cores_that_matter(machine, name):
    machine(cores=3)
    counted = f"{name} (3)" if name in ("threads", "processes") else name
    algorithm = maml().build(Line(), FakeSource(), TRAIN)
    assert make_engine(name, algorithm, CPU).name == counted

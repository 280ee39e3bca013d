"""Least recently used access by hand, and labels that come one step late."""

import math

import pytest
import torch
from problems import TRAIN, images, shipped

from maml_cli.readers.controller import Controller, Memory, access, least_used
from maml_cli.readers.sequences import Examples, all_shown

SMALL = {"features": 3, "ways": 2, "units": 4, "width": 3, "heads": 2}


@pytest.mark.parametrize(
    ("usage", "n", "marks"),
    [
        ([1, 0, 0, 0], 1, [0, 1, 0, 0]),  # of equal slots the first, and never more than n
        ([1, 0, 0, 0], 2, [0, 1, 1, 0]),
        ([0.3, 0.1, 0.2, 0.4], 2, [0, 1, 1, 0]),
        ([0.0, 0.0, 0.0, 0.0], 1, [1, 0, 0, 0]),
    ],
)
def test_least_used_slots(usage, n, marks):
    assert least_used(torch.tensor(usage), n).tolist() == marks


def test_access_by_hand():
    """Two slots, one head, gate 0.25: slot 2 is least used, is cleared, and gets 0.75 keys."""
    memory = Memory(
        content=torch.tensor([[[0.0, 1.0], [1.0, 1.0]]]),
        usage=torch.tensor([[1.0, 0.0]]),
        read_weights=torch.tensor([[[1.0, 0.0]]]),
    )
    key, gate = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0.25]])
    reads, after = access(memory, key, gate)
    assert after.content[0].tolist() == [[0.25, 1.0], [0.75, 0.0]]
    weight = 1 / (1 + math.exp(1 - 0.25 / math.sqrt(1 + 0.0625)))  # of cosines 0.242536 and 1
    assert after.read_weights.flatten().tolist() == pytest.approx([0.319197, 0.680803], abs=1e-6)
    assert weight == pytest.approx(0.319197, abs=1e-6)
    assert reads.flatten().tolist() == pytest.approx([0.590401, 0.319197], abs=1e-6)
    assert after.usage.flatten().tolist() == pytest.approx([1.519197, 1.430803], abs=1e-6)
    # the next step writes 0.25 of the last reading and 0.75 of slot 2, which is least used again
    _, later = access(after, key, gate)
    written = later.content[0, :, 0].tolist()
    assert written == pytest.approx([0.25 + 0.079799, 0.920201], abs=1e-6)


def test_one_match_among_128_orthogonal_rows_is_read_with_little_weight():
    memory = Memory(
        content=torch.eye(128).unsqueeze(0),
        usage=torch.arange(128.0).flip(0).unsqueeze(0),  # the last row is least used
        read_weights=torch.zeros(1, 1, 128),
    )
    _, after = access(memory, torch.eye(128)[None, :1], torch.ones(1, 1))  # nothing is written
    weights = after.read_weights.flatten()
    assert weights[0].item() == pytest.approx(math.e / (math.e + 127), abs=1e-6)
    assert (weights[0] / weights[1:]).max().item() == pytest.approx(math.e, abs=1e-5)


@pytest.mark.parametrize(
    ("slots", "features", "parts"),
    [
        (128, 400, {"gates": 612_800, "keys": 32_160, "write": 804, "output": 1_805}),
        (128, 784, {"gates": 920_000, "keys": 32_160, "write": 804, "output": 1_805}),
        (0, 400, {"gates": 800 * 605 + 800, "output": 1_005}),  # the plain LSTM
    ],
)
def test_the_network_has_the_published_size(slots, features, parts):
    settings = shipped("algo", "mann")
    reader = Controller(
        features=features,
        ways=5,
        units=settings.units,
        slots=slots,
        width=settings.width,
        heads=settings.heads,
    )
    weights = reader.init(torch.Generator())
    found = {
        part: sum(t.numel() for n, t in weights.items() if n.startswith(f"{part}."))
        for part in ("gates", "keys", "write", "output")
    }
    assert {part: size for part, size in found.items() if size} == parts


def made(slots):
    reader = Controller(slots=slots, **SMALL)
    params = reader.init(torch.Generator().manual_seed(0))
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    return reader, params, Examples(x, torch.tensor([0, 1, 1, 0, 1, 0]), all_shown(x))


@pytest.mark.parametrize("slots", [5, 0])
def test_a_label_is_seen_one_step_after_its_input(slots):
    """Changing label t changes no answer up to t, and all that come later."""
    reader, params, examples = made(slots)
    before = reader.stream(params, examples)
    other = examples._replace(y=torch.tensor([0, 1, 0, 0, 1, 0]))
    same = (reader.stream(params, other) == before).all(1)
    assert same.tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize("slots", [5, 0])
def test_a_query_is_the_next_step_of_the_stream(slots):
    reader, params, examples = made(slots)
    whole = reader.stream(params, examples)
    support = Examples(*(field[:4] for field in examples))
    memory = reader.read(params, support, None)
    torch.testing.assert_close(reader.answer(params, memory, examples.x[4:5]), whole[4:5])
    both = reader.answer(params, memory, examples.x[4:])
    torch.testing.assert_close(both[:1], whole[4:5])


def test_each_sequence_writes_into_an_empty_memory():
    reader, params, examples = made(5)
    first, again = (reader.stream(params, examples) for _ in range(2))
    assert torch.equal(first, again)
    start = reader.begin(examples.x).memory
    assert start.content.unique().tolist() == pytest.approx([1e-6])
    assert start.usage.tolist() == [[1, 0, 0, 0, 0]]
    written = reader.read(params, examples, None).memory.content
    assert (written.abs() > 1e-3).any()


def test_the_ablation_has_no_memory():
    source = images(2)
    network = shipped("backbone", "pixels").build(source.input_shape)
    algorithm = shipped("algo", "mann", memory=False).build(network, source, TRAIN)
    assert set(algorithm.init(0).theta["reader"]) == {
        *("gates.weight", "gates.bias", "output.weight", "output.bias"),
    }

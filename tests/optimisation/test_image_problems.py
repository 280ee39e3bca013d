"""Fitting a network to images: what a problem is, files in MNIST's format, what is refused."""

import gzip
import struct
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from problems import CPU, RUN, TRAIN, shipped

from maml_cli.core.errors import DataError
from maml_cli.core.norms import BatchStats
from maml_cli.core.types import Progress
from maml_cli.data.images import ImagePool, consecutive
from maml_cli.problems.image_problems import ImageProblems, Pictures
from maml_cli.testing import ENGINES

OWN = replace(RUN, ways=1)
PER_CLASS = {"train": 3, "val": 2, "test": 2}


def mlp(hidden=(5,), activation="sigmoid"):
    form = shipped("backbone", "mlp", hidden=list(hidden), activation=activation)
    return form.build((1, 2, 2))


def pools(classes=10):
    """Pictures whose every pixel says class and place: 10 * class + place."""
    found = {}
    for split, each in PER_CLASS.items():
        values = [10 * c + i for c in range(classes) for i in range(each)]
        images = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        counts = torch.full((classes,), each).numpy()
        found[split] = ImagePool(images=images, classes=consecutive(counts))
    return found


def source(classes=10, *, start="small", network=None, seed=0):
    return ImageProblems(
        Pictures(pools(classes), ()),
        network or mlp(),
        seed=seed,
        device=CPU,
        batch=4,
        start=start,
        remarks=(),
    )


def pixel(data, number):
    """The value of a picture, as the network's input has it, times 255."""
    seen = []

    class Spy(BatchStats):
        pass

    class Asked(type(data.network._network)):
        def features(self, params, x, norm):
            seen.append(x)
            return super().features(params, x, norm)

    data.network._network.__class__ = Asked
    params = data.start(torch.zeros(2, dtype=torch.int64))
    data.network.outputs(params, torch.tensor([number]), Spy())
    return round(seen[0].flatten()[0].item() * 255)


@pytest.mark.parametrize("split", PER_CLASS)
def test_the_numbers_of_a_problem_are_all_images_of_its_split(split):
    data = source()
    problem = data.episodes(split, 4, 2)
    each = PER_CLASS[split]
    assert problem.support_x.shape == (2, 10 * each)
    assert torch.equal(problem.support_x[0], problem.support_x[1])
    for number, label in zip(problem.support_x[0], problem.support_y[0], strict=True):
        assert pixel(data, number) // 10 == label


def test_with_more_classes_each_problem_has_ten_of_its_own():
    data = source(12)
    problem = data.episodes("test", 0, 6)
    assert len({tuple(c.tolist()) for c in problem.classes}) == 6
    for row in range(6):
        for number, label in zip(problem.support_x[row], problem.support_y[row], strict=True):
            assert pixel(data, number) // 10 == problem.classes[row, label]
    for all_six, last in zip(problem, data.episodes("test", 5, 1), strict=True):
        assert torch.equal(all_six[5:], last)


def test_starts_are_drawn_as_they_say():
    big = mlp((400,))
    key = torch.tensor([1, 2])
    small = source(network=big).start(key)
    assert {n: t.std().item() for n, t in small.items()} == {
        n: pytest.approx(0.01, rel=0.25) for n in small
    }
    usual = source(network=big, start="usual").start(key)
    # inputs: 4 and 400
    assert usual["body.0.weight"].abs().max().item() == pytest.approx(0.5, rel=0.01)
    assert usual["body.0.bias"].abs().max().item() == pytest.approx(0.5, rel=0.01)
    assert usual["head.weight"].abs().max().item() == pytest.approx(0.05, rel=0.01)
    assert usual["head.bias"].abs().max().item() <= 0.05


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", torch.relu), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh)],
)
def test_the_mlp_is_torchs(activation, function):
    data = source(network=mlp((5, 3), activation))
    params = source(network=mlp((5, 3), activation), start="usual").start(torch.tensor([3, 4]))
    numbers = data.episodes("train", 0, 1).support_x[0, :7]
    x = torch.stack([torch.full((4,), pixel(data, n) / 255.0) for n in numbers]).double()
    for layer in ("body.0", "body.1"):
        x = function(F.linear(x, params[f"{layer}.weight"], params[f"{layer}.bias"]))
    expected = F.linear(x, params["head.weight"], params["head.bias"])
    torch.testing.assert_close(data.network.outputs(params, numbers, BatchStats()), expected)


def test_a_recording_reads_the_pictures_at_every_replay():
    data = source()
    form = shipped("algo", "lstm_optimizer", inner_steps=2, unroll=2, units=3)
    learner = form.build(data.network, data, replace(TRAIN, tasks_per_batch=2))
    problems, progress = (
        data.episodes("train", 0, 2),
        Progress(iteration=0, epoch=0, iterations=10, epochs=1),
    )
    recorded, plain = (ENGINES[name](learner) for name in ("graph", "loop"))
    params = learner.init(0)
    losses = []
    for _ in range(2):
        found = recorded.meta_gradient(params, problems, progress)
        expected = plain.meta_gradient(params, problems, progress)
        torch.testing.assert_close(found.loss, expected.loss)
        losses.append(expected.loss.item())
        data.network._images.copy_(255 - data.network._images)
    assert losses[0] != losses[1]


def test_drawn_digits_need_no_files(tmp_path):
    data = shipped("dataset", "digits_mlp").load(replace(OWN, cache_dir=str(tmp_path)), CPU)
    shapes = {n: tuple(t.shape) for n, t in data.start(torch.zeros(2).long()).items()}
    assert shapes["body.0.weight"] == (20, 784)
    assert sum(t.numel() for t in data.start(torch.zeros(2).long()).values()) == 15_910
    problem = data.episodes("train", 0, 1)
    assert problem.support_y[0].bincount().tolist() == [480] * 10
    assert problem.support_x.unique().numel() == 4800
    assert "drawn digits, no handwriting" in data.remarks[1]


def write(folder, name, header, content, *, packed):
    folder.mkdir(parents=True, exist_ok=True)
    data = struct.pack(">" + "i" * len(header), *header) + bytes(content)
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(data) if packed else data)


def mnist(folder, *, packed, train=5020):
    """Files in MNIST's format: picture i has the label i mod 10, and pixels of that value."""
    for split, n in (("train", train), ("t10k", 30)):
        labels = [i % 10 for i in range(n)]
        write(folder, f"{split}-labels-idx1-ubyte", (2049, n), labels, packed=packed)
        pixels = bytes(v for label in labels for v in [label] * 4)
        write(folder, f"{split}-images-idx3-ubyte", (2051, n, 2, 2), pixels, packed=packed)


@pytest.mark.parametrize(
    ("images", "folder", "packed"),
    [
        ("mnist", "mnist", False),
        ("mnist", "MNIST/raw", False),
        ("fashion_mnist", "fashion-mnist", True),
    ],
)
def test_files_in_the_format_of_mnist(tmp_path, images, folder, packed):
    mnist(tmp_path / folder, packed=packed)
    form = shipped("dataset", "digits_mlp", images=images)
    data = form.load(replace(OWN, data_dir=str(tmp_path)), CPU)
    sizes = {split: data.episodes(split, 0, 1).support_x.shape[1] for split in PER_CLASS}
    assert sizes == {"train": 20, "val": 5000, "test": 30}
    problem = data.episodes("val", 0, 1)
    for place in (0, 2500, 4999):
        assert pixel(data, problem.support_x[0, place]) == problem.support_y[0, place]
    assert data.remarks[1].endswith("20 for train, 5,000 for val, 30 for test")


def test_missing_and_damaged_files(tmp_path):
    form = shipped("dataset", "digits_mlp", images="mnist")
    run = replace(OWN, data_dir=str(tmp_path))
    with pytest.raises(DataError, match="has no mnist with train-images") as error:
        form.load(run, CPU)
    assert "dataset.images=drawn" in error.value.messages[1]
    mnist(tmp_path / "mnist", packed=True)
    packed = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:60])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: not a whole file"):
        form.load(run, CPU)
    packed.unlink()
    plain = tmp_path / "mnist" / "train-images-idx3-ubyte"
    plain.write_bytes(b"no images")
    with pytest.raises(DataError, match="train-images-idx3-ubyte: not a whole file"):
        form.load(run, CPU)
    mnist(tmp_path / "mnist", packed=False, train=100)
    with pytest.raises(DataError, match="more than 5,000"):
        form.load(run, CPU)

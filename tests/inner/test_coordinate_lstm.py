"""Preprocessing and LSTM of learned optimisers: on paper, and against torch's own LSTM."""

import math

import pytest
import torch

from maml_cli.core.autodiff import Autograd
from maml_cli.inner.coordinate_lstm import CoordinateLSTM, preprocessed
from maml_cli.inner.learned_optimizer import LearnedOptimizer
from maml_cli.inner.update_rules import InnerStep

AT = InnerStep(0, torch.tensor(0.5), torch.zeros(2, dtype=torch.int64), 1)


@pytest.mark.parametrize(
    ("p", "value", "size", "sign"),
    [
        # ln 1 = 0, ln e = 1, ln 100 = 4.60517; below e^-10 = 4.54e-5 the value itself, times e^10
        (10, 1.0, 0.0, 1.0),
        (10, math.e, 0.1, 1.0),
        (10, 100.0, 0.460517, 1.0),
        (10, -0.01, -0.460517, -1.0),
        (10, math.exp(-5), -0.5, 1.0),
        (10, 1e-6, -1.0, 0.022026),
        (10, -math.exp(-10), -1.0, -1.0),
        (10, 0.0, -1.0, 0.0),
        (5, 1e-3, -1.0, 0.148413),
        (5, 0.01, -0.921034, 1.0),
    ],
)
def test_preprocessing_on_paper(p, value, size, sign):
    found = preprocessed(torch.tensor([value], dtype=torch.float64), p)
    assert found[:, 0].tolist() == pytest.approx([size, sign], abs=1e-6)


def test_preprocessing_has_a_finite_slope_at_zero():
    def function(x):
        return preprocessed(x, 10.0).sum(), ()

    at = torch.tensor([0.0, 1e-7, 1.0], dtype=torch.float64)
    # e^10 below e^-10, where the size is constant; above it 1 / (p g) and a constant sign
    slopes = Autograd().gradient(function, at).gradient
    assert slopes.tolist() == pytest.approx([math.exp(10), math.exp(10), 0.1])


def test_the_lstm_is_torchs():
    lstm = CoordinateLSTM(inputs=2, layers=2, units=3, forget_bias=1.0)
    weights = lstm.init(torch.Generator().manual_seed(1))
    reference = torch.nn.LSTM(2, 3, num_layers=2)
    order = [0, 2, 1, 3]  # torch's rows: enter, forget, candidate, leave
    with torch.no_grad():
        for layer in range(2):
            rows = weights[f"lstm.{layer}.weight"].chunk(4)
            weight = torch.cat([rows[i] for i in order])
            bias = torch.cat([weights[f"lstm.{layer}.bias"].chunk(4)[i] for i in order])
            bias[3:6] += 1.0
            inputs = weight.shape[1] - 3
            getattr(reference, f"weight_ih_l{layer}").copy_(weight[:, :inputs])
            getattr(reference, f"weight_hh_l{layer}").copy_(weight[:, inputs:])
            getattr(reference, f"bias_ih_l{layer}").copy_(bias)
            getattr(reference, f"bias_hh_l{layer}").zero_()
    x = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(2))  # steps, coordinates
    memory, outputs = lstm.memory(x[0, :, 0]), []
    for step in x:
        output, memory = lstm.step(weights, memory, step.T)
        outputs.append(output.T)
    torch.testing.assert_close(torch.stack(outputs), reference(x)[0])


def rule(**changes):
    form = {"layers": 2, "units": 4, "preprocessing": 10.0, "scale": 0.1, "by_kind": False}
    return LearnedOptimizer(**form | changes)


def run(of, phi, gradients, seed=0):
    learned = of.init(phi, torch.Generator().manual_seed(seed))
    memory = of.memory(phi)
    for gradient in gradients:
        phi, memory = of.step(learned, memory, phi, gradient, AT)
    return phi


def drawn(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_number_of_weights_is_the_papers():
    for preprocessing, count in ((None, 5061), (10.0, 5141)):
        of = rule(units=20, preprocessing=preprocessing)
        learned = of.init({"x": torch.zeros(3)}, torch.Generator().manual_seed(0))
        assert sum(t.numel() for t in learned.values()) == count


def test_permuted_coordinates_have_permuted_updates():
    order = torch.tensor([3, 0, 4, 1, 2])
    phi, gradients = {"x": drawn(5, 1)}, [{"x": drawn(5, seed)} for seed in (2, 3, 4)]
    moved = run(rule(), phi, gradients)["x"]
    permuted = run(rule(), {"x": phi["x"][order]}, [{"x": g["x"][order]} for g in gradients])["x"]
    torch.testing.assert_close(permuted, moved[order])


def test_a_coordinate_sees_its_own_gradients_alone():
    phi = {"a": torch.zeros(2, 2), "b": torch.zeros(3)}
    gradients = [{"a": drawn((2, 2), s), "b": drawn(3, s + 9)} for s in (2, 3)]
    for g in gradients:
        g["b"][1] = g["a"][0, 1]  # of two tensors, with the same history
    found = run(rule(), phi, gradients)
    assert found["b"][1] == pytest.approx(found["a"][0, 1].item(), abs=1e-7)
    assert abs(found["b"][0] - found["b"][2]) > 1e-5
    gradients[0]["a"][1, 1] += 1
    other = run(rule(), phi, gradients)
    same = other["a"] == found["a"]
    assert same.tolist() == [[True, True], [True, False]]
    assert torch.equal(other["b"], found["b"])


def test_kernels_have_an_lstm_of_their_own():
    phi = {"kernel": torch.zeros(1, 1, 1, 2), "bias": torch.zeros(2)}
    of = rule(by_kind=True)
    learned = of.init(phi, torch.Generator().manual_seed(0))
    groups = {name.partition(".")[0] for name in learned}
    assert groups == {"kernels", "all"}
    gradient = {"kernel": torch.ones(1, 1, 1, 2), "bias": torch.ones(2)}
    learned["all.output.weight"].zero_()
    moved, _ = of.step(learned, of.memory(phi), phi, gradient, AT)
    assert moved["bias"].tolist() == [0, 0]
    assert moved["kernel"].abs().min() > 0

"""Learned geometry against paper and pencil: T-net, MT-net, CAVIA, Meta-Curvature, ALFA.

The network answers `f = w x` with one weight (T-net: `t w x`, CAVIA: `w x + v phi`); the loss is
the squared error.
"""

import pytest
import torch
import torch.nn.functional as F
from problems import FakeSource, Line, Toy, at_epoch, conv4, double, image_batch, images, learner
from problems import points as one_point

from maml_cli.core import noise
from maml_cli.core.autodiff import Autograd
from maml_cli.core.errors import UsageError
from maml_cli.core.norms import BatchStats
from maml_cli.inner.curvature import MetaCurvature
from maml_cli.inner.masks import UnitMask, WeightMask
from maml_cli.inner.update_rules import InnerStep

ENGINES = ["loop", "vmap"]
W = "model.head.weight"


class OneWeight(Toy):
    """`w x`, where w = 1 is the only entry of a matrix."""

    def init_head(self, outputs, generator):
        return {"head.weight": torch.ones(1, 1), "head.bias": torch.zeros(1)}

    def head(self, params, features):
        return F.linear(features, params["head.weight"]) + params["head.bias"] * self.biased

    biased = 0.0


class WithBias(OneWeight):
    biased = 1.0


def step_of(network, start, target, **changes):
    """The meta-step of one task with x = 1 and the same target for support and query."""
    found = learner(network, FakeSource(), inner_steps=1, inner_lr=0.1, **changes)
    params = found.init(0)
    for name, value in start.items():
        params.theta[name] = torch.full_like(params.theta[name], value)
    return found.meta_gradient(params, one_point((target, target)), at_epoch(0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("order", "dt", "dw"), [(2, -0.24, 0.16), (1, 0.24, 0.8)])
def test_t_net_learns_the_map_after_a_layer(engine, order, dt, dw):
    # t = 2, w = 1, y = 1: w' = 1 - 0.1 * 4 = 0.6, V = (2 * 0.6 - 1)^2
    found = step_of(
        OneWeight(), {"model.warp/head": 2.0}, 1.0, warp=True, order=order, engine=engine
    )
    assert found.loss.item() == pytest.approx(0.04, rel=1e-5)
    assert found.gradient["model.warp/head"].item() == pytest.approx(dt, rel=1e-5)
    assert found.gradient[W].item() == pytest.approx(dw, rel=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_masked_weight_stays_and_its_logit_has_the_slope_of_the_soft_bit(engine):
    # kept: w' = 1, V = 1; changed: as above. dV/dm = 2 (2 w' - 1) * 2 * (-0.4), and dm/dzeta is
    # the slope u (1 - u) of the sigmoid at logit(u) for zeta = 0.
    found = learner(
        OneWeight(),
        FakeSource(),
        inner_steps=1,
        inner_lr=0.1,
        warp=True,
        mask="unit",
        engine=engine,
    )
    params = found.init(0)
    params.theta["model.warp/head"] *= 2
    tasks = one_point(*[(1.0, 1.0)] * 8)
    drawn = [noise.uniform(key, "mask of head", (1,)).item() for key in tasks.key]
    assert min(drawn) < 0.5 < max(drawn)
    for i, u in enumerate(drawn):
        task = type(tasks)(*(field[i : i + 1] for field in tasks))
        step = found.meta_gradient(params, task, at_epoch(0))
        loss, slope = (0.04, -0.32) if u > 0.5 else (1.0, -1.6)
        assert step.loss.item() == pytest.approx(loss, rel=1e-4)
        logit = step.gradient["inner_lr.mask/head"].item()
        assert logit == pytest.approx(slope * u * (1 - u), rel=1e-4)


def test_bits_have_their_probability_and_their_extent():
    zeta = torch.tensor([0.0, 1.0986123, -30.0])  # probabilities 1/2, 3/4, 0
    phi = {"a.weight": torch.ones(3, 2), "a.bias": torch.ones(3)}

    def masked(mask, learned, key, number=0):
        at = InnerStep(number, torch.zeros(()), key, 1)
        return mask.of(learned, phi, at)

    keys = torch.arange(2000).view(1000, 2)
    unit = UnitMask()
    assert unit.init(phi, torch.Generator())["a"].tolist() == [0.0] * 3
    drawn = [masked(unit, {"a": zeta}, key) for key in keys]
    shares = torch.stack([bits["a.bias"] for bits in drawn]).mean(0)
    assert torch.allclose(shares, torch.tensor([0.5, 0.75, 0.0]), atol=0.06)
    for bits in drawn[:9]:
        assert torch.equal(bits["a.weight"], bits["a.bias"].unsqueeze(1).expand(3, 2))
        assert set(bits["a.bias"].tolist()) <= {0.0, 1.0}
    assert torch.equal(masked(unit, {"a": zeta}, keys[0], 5)["a.bias"], drawn[0]["a.bias"])
    assert unit.shown({"a": zeta}) == {
        "share of a that changes": [pytest.approx((0.5 + 0.75) / 3, abs=1e-6)]
    }
    weight = WeightMask()
    learned = weight.init(phi, torch.Generator())
    each = torch.stack(
        [masked(weight, learned, key, n)["a.weight"] for key in keys[:100] for n in range(3)]
    )
    assert torch.allclose(each.mean(0), torch.full((3, 2), 0.5), atol=0.12)
    first, second = each[::3].flatten(), each[1::3].flatten()
    assert abs((first == second).float().mean() - 0.5) < 0.1  # a new draw at every step


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("order", "dv", "dw"), [(2, -0.32, -0.08), (1, -0.16, -0.4)])
def test_cavia_adapts_a_context_alone(engine, order, dv, dw):
    # w = 1, v = 2, y = 2: phi = 0.1 * 4 = 0.4, V = (1 + 0.8 - 2)^2
    found = step_of(
        WithBias(),
        {"model.modulation/weight": 2.0},
        2.0,
        adapts=["context"],
        contexts=1,
        order=order,
        engine=engine,
    )
    assert found.loss.item() == pytest.approx(0.04, rel=1e-4)
    assert found.gradient["model.modulation/weight"].item() == pytest.approx(dv, rel=1e-4)
    assert found.gradient[W].item() == pytest.approx(dw, rel=1e-4)
    assert "model.context/values" not in found.gradient


def test_film_multiplies_and_shifts_the_outputs_of_a_batch_norm():
    """FiLM after the third norm of Conv4, with gains above 0, against the same by hand."""
    source = images(3)
    network = conv4().build(source.input_shape)
    found = learner(network, source, inner_steps=1, adapts=["context"], contexts=5)
    params = double(found.init(3)).theta
    weight, bias = params["model.modulation/weight"], params["model.modulation/bias"]
    assert bias.tolist() == [1.0] * 4 + [0.0] * 4
    context = torch.rand(5, dtype=torch.float64)
    gain, shift = (weight @ context + bias).chunk(2)
    assert gain.min() > 0  # else FiLM before pooling is not FiLM after it
    model = {n.removeprefix("model."): t for n, t in params.items()}
    view = found.algorithm.inner.view
    seen = view.at(model | {"context/values": context}, 0)
    assert set(seen) == set(network.init(torch.Generator())) | {"head.weight", "head.bias"}
    x = image_batch(1, 3, 2, 2, source).support_x[0]

    class ByHand(BatchStats):
        """FiLM as the paper has it: on pooled features, before the activation."""

        def conv_and_pool(self, block, x, params, *eps):
            out = super().conv_and_pool(block, x, params, *eps)
            if block != "body.2":
                return out
            return gain.view(1, -1, 1, 1) * out + shift.view(1, -1, 1, 1)

    expected = network.outputs(model, x, ByHand())
    assert torch.allclose(network.outputs(seen, x, BatchStats()), expected, atol=1e-10)
    assert not torch.allclose(network.outputs(model, x, BatchStats()), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "film", "message"),
    [
        (
            "conv4",
            4,
            "algo.film=4: the network has only 4 batch norms: set algo.film to -4 to 3, or",
        ),
        ("line", 0, "algo.film=0: the network has no batch norm: set algo.film=null"),
    ],
)
def test_a_batch_norm_that_is_not_there_is_refused(backbone, film, message):
    network, source = (conv4(), images(3)) if backbone == "conv4" else (Line(), FakeSource())
    with pytest.raises(UsageError, match=message):
        learner(network, source, adapts=["context"], contexts=2, film=film)


def test_curvature_is_a_kronecker_product():
    """Against the product of the whole matrix with the gradient as a vector."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    phi = {"conv.weight": drawn(4, 3, 2, 2), "head.weight": drawn(2, 5), "head.bias": drawn(2)}
    curvature = MetaCurvature()
    learned = curvature.init(phi, torch.Generator())
    at = InnerStep(0, torch.zeros(()), torch.zeros(2, dtype=torch.int64), 1)
    for name, same in curvature.of({n: t.double() for n, t in learned.items()}, phi, at).items():
        assert torch.equal(same, phi[name])
    learned = {n: drawn(*t.shape) for n, t in learned.items()}
    outputs, inputs, places = (learned[f"conv.weight.{k}"] for k in ("outputs", "inputs", "places"))
    matrix = torch.kron(outputs, torch.kron(inputs.T.contiguous(), places.T.contiguous()))
    found = curvature.of(learned, phi, at)
    expected = (matrix @ phi["conv.weight"].flatten()).view(4, 3, 2, 2)
    assert torch.allclose(found["conv.weight"], expected)
    expected = learned["head.weight.outputs"] @ phi["head.weight"] @ learned["head.weight.inputs"]
    assert torch.allclose(found["head.weight"], expected)
    assert torch.allclose(found["head.bias"], learned["head.bias.each"] * phi["head.bias"])


@pytest.mark.parametrize("engine", ENGINES)
def test_alfa_generates_rate_and_decay(engine):
    # w = 3, support 1, g = 4; f = 0.1 relu(z), z = (3, 4): a = 1.3, b = 0.4;
    # w' = (1 - 0.5 * 0.4) * 3 - 0.1 * 1.3 * 4 = 1.88, query 2: V = 0.12^2
    found = learner(Line(), FakeSource(), inner_steps=1, inner_lr=0.1, alfa=True, engine=engine)
    params = found.init(0)
    values = {
        "decay": torch.tensor([[0.5]]),
        "hidden.weight": torch.eye(2),
        "hidden.bias": torch.zeros(2),
        "output.weight": 0.1 * torch.eye(2),
        "output.bias": torch.zeros(2),
    }
    assert params.theta["inner_lr.decay"].item() == pytest.approx(5e-6)
    params.theta.update({f"inner_lr.{n}": t for n, t in values.items()})
    step = found.meta_gradient(params, one_point((1.0, 2.0)), at_epoch(0))
    assert step.loss.item() == pytest.approx(0.0144, rel=1e-4)
    slope = 2 * (1.88 - 2)
    assert step.gradient["inner_lr.rate"].item() == pytest.approx(slope * -1.3 * 4, rel=1e-4)
    assert step.gradient["inner_lr.decay"].item() == pytest.approx(slope * -0.4 * 3, rel=1e-4)
    # by output.bias: a moves w' by -a0 g, b by -b0 w
    assert step.gradient["inner_lr.output.bias"].tolist() == pytest.approx(
        [slope * -0.1 * 4, slope * -0.5 * 3], rel=1e-4
    )


IDENTITIES = {
    "tnet": {"warp": True},
    "metacurvature": {"curvature": True},
    "alfa": {"alfa": True},
    "mask": {"mask": "unit"},
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_at_the_identity_each_is_maml(name):
    source = images(3)
    tasks = image_batch(2, 3, 2, 2, source)
    plain = learner(conv4(), source, inner_lr=0.25)
    found = learner(conv4(), source, inner_lr=0.25, **IDENTITIES[name])
    params = double(found.init(0))
    for n in list(params.theta):
        if n.startswith(("inner_lr.output", "inner_lr.decay")):  # of ALFA: a = 1, b0 = 0
            params.theta[n] = torch.zeros_like(params.theta[n])
        if "mask/" in n:
            params.theta[n] = torch.full_like(params.theta[n], 200.0)
    expected = plain.meta_gradient(double(plain.init(0)), tasks, at_epoch(0))
    step = found.meta_gradient(params, tasks, at_epoch(0))
    for n, gradient in expected.gradient.items():
        assert torch.allclose(step.gradient[n], gradient, rtol=1e-9, atol=1e-12), n


VARIANTS = {
    "tnet": {"warp": True, "msl": True, "bnwb": True},
    "cavia": {"adapts": ["context"], "contexts": 3, "film": -2},
    "body and context": {"adapts": ["body", "context"], "contexts": 3, "film": 0, "warp": True},
    "metacurvature": {"curvature": True, "lslr": True},
    "alfa": {"alfa": True},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_meta_gradients_are_the_slopes_of_the_loss(name):
    """Central differences in float64 along a random direction of each new meta-parameter.

    ALFA sees gradients as constants, so that it has one inner step here, and its own slopes alone.
    """
    source, changes = images(3), {"inner_lr": 0.1, "inner_steps": 1 + (name != "alfa")}
    tasks = image_batch(2, 3, 2, 2, source)
    found = learner(conv4(filters=3), source, **changes, **VARIANTS[name])
    params, generator = double(found.init(0)), torch.Generator().manual_seed(5)
    gradient = found.meta_gradient(params, tasks, at_epoch(3)).gradient
    quick = learner(conv4(filters=3), source, **changes, **VARIANTS[name], order=1)  # no other loss
    own = [n for n in params.theta if "/" in n or n.startswith("inner_lr.")]
    assert own
    for n in own:
        tensor = params.theta[n]
        direction = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)

        def loss(h, n=n, tensor=tensor, direction=direction):
            theta = {**params.theta, n: tensor + h * direction}
            there = type(params)(theta=theta, state=params.state)
            return quick.meta_gradient(there, tasks, at_epoch(3)).loss.item()

        slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
        assert (gradient[n] * direction).sum().item() == pytest.approx(slope, rel=1e-4, abs=1e-7), n


def test_pull_back_multiplies_by_the_transposed_jacobian():
    matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    back = Autograd().pull_back(lambda at: {"y": matrix @ at["x"]}, {"x": torch.ones(2)})
    for cotangent in ([1.0, 0.0], [0.0, 1.0]):
        found = back({"y": torch.tensor(cotangent)})["x"]
        assert torch.equal(found, matrix.T @ torch.tensor(cotangent))

"""A recorded meta-gradient, replayed for other values: that of the learner itself."""

import pytest
import torch
from maml_cli.engines.engines import make_engine
from problems import ALL_OFF, TRAIN, at_epoch, conv4, double, image_batch, images

from maml_cli.algos.maml import MAML
from maml_cli.algos.pretrained import Pretrained
from maml_cli.algos.reptile import Reptile
from maml_cli.backbones.mlp import MLP
from maml_cli.core.types import Episode
from maml_cli.engines.recorded import Recorded, traced

SOURCE = images(3)
BATCH = image_batch(3, 3, 1, 2, SOURCE)
OTHER = Episode(*(f.flip(0) if f.is_floating_point() else f for f in BATCH))
ALL_ON = {"msl": True, "bnrs": True, "bnwb": True, "lslr": True}
LEARNERS = {
    "maml": MAML(**ALL_OFF),
    "maml++": MAML(**ALL_OFF | ALL_ON | {"msl_epochs": 3}),
    "annealed order, recomputed": MAML(**ALL_OFF | {"da": True, "da_epochs": 2, "recompute": True}),
    "meta-sgd": MAML(**ALL_OFF | {"lslr": True, "rate_per_weight": True}),
    "pretrained": Pretrained(name="test", inner_steps=1, inner_lr=0.1, pretrain=True),
    "reptile": Reptile(
        name="test",
        inner_steps=3,
        inner_lr=0.01,
        inner_optimizer="adam",
        carry_moments=True,
        inner_batch=2,
        eval_inner_batch=2,
    ),
}


NETWORKS = {
    "conv4": conv4(),
    "mlp": MLP(
        name="mlp",
        hidden=[8, 8],
        batch_norm=True,
        norm_gain=True,
        norm_eps=1e-5,
        weight_init="uniform",
    ),
}


def tensors_of(step):
    named = {"loss": step.loss, "query_loss": step.query_loss, "query_metric": step.query_metric}
    for part in ("gradient", "state"):
        named |= {f"{part}.{n}": t for n, t in getattr(step, part).items()}
    return named


def standing_in(function, example):
    """Records as `cuda_graph` does: every replay reads from and writes into the same places."""
    places = [tensor.clone() for tensor in example]
    found = function(places)

    def replay(values):
        for place, value in zip(places, values, strict=True):
            place.copy_(value)
        for place, value in zip(found, function(places), strict=True):
            place.copy_(value)
        return [tensor.clone() for tensor in found]

    return replay


@pytest.mark.parametrize("record", [standing_in, traced])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", LEARNERS)
def test_replays_are_the_steps_of_the_learner(name, network, record):
    learner = LEARNERS[name].build(NETWORKS[network], SOURCE, TRAIN, make_engine("vmap"))
    recorded = Recorded(learner, record)
    params = double(learner.init(0))
    seen = []
    for epoch, batch in ((0, BATCH), (0, OTHER), (1, BATCH), (4, OTHER)):
        expected = learner.meta_gradient(params, batch, at_epoch(epoch))
        found = recorded.meta_gradient(params, batch, at_epoch(epoch))
        assert found.query_steps == expected.query_steps
        seen.append((tensors_of(expected), tensors_of(found)))
        for weight, slope in zip(params.theta.values(), expected.gradient.values(), strict=True):
            weight.sub_(0.01 * slope)
        params.state.update(expected.state)
    for expected, found in seen:  # only now: a later replay must not have changed an earlier step
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_it_is_recorded_anew_when_the_order_or_the_weights_of_the_steps_change():
    annealed = {"da": True, "da_epochs": 2, "msl": True, "msl_epochs": 4}
    learner = MAML(**ALL_OFF | annealed).build(conv4(), SOURCE, TRAIN, make_engine("vmap"))
    recordings = []

    def record(function, _):
        recordings.append(function)
        return function

    recorded = Recorded(learner, record)
    counts = []
    for epoch in (0, 0, 1, 2, 3, 4, 5, 9):
        recorded.meta_gradient(double(learner.init(0)), BATCH, at_epoch(epoch))
        counts.append(len(recordings))
    assert counts == [1, 1, 2, 3, 4, 5, 5, 5]  # from epoch 4 on only the last step counts

"""A recorded meta-gradient, replayed for other values: that of the learner itself."""

from operator import getitem

import pytest
import torch
from problems import TRAIN, Learner, at_epoch, conv4, double, image_batch, images, maml, shipped

from maml_cli.core.errors import UsageError
from maml_cli.engines.recorded import Recorded, traced
from maml_cli.engines.vmap import Vmap
from maml_cli.engines.written import written

SOURCE = images(3)
BATCH = image_batch(3, 3, 1, 2, SOURCE)
OTHER = BATCH._replace(
    support_x=BATCH.support_x.flip(1), query_x=BATCH.query_x.flip(1), key=BATCH.key + 100
)
ALL_ON = {"msl": True, "bnrs": True, "bnwb": True, "lslr": True}
REPTILE = {"inner_steps": 3, "inner_lr": 0.01, "inner_batch": 2}
LEARNERS = {
    "maml": maml(),
    "maml++": maml(**ALL_ON, msl_epochs=3),
    "annealed order, recomputed": maml(da=True, da_epochs=2, recompute=True),
    "meta-sgd": maml(lslr=True, rate_per_weight=True),
    "adam": maml(inner_optimizer="adam", proximal=0.1, adapts=["norm", "head"]),
    "pretrained": shipped("algo", "pretrained"),
    "reptile": shipped("algo", "reptile", **REPTILE),
}
NETWORKS = {
    "conv4": conv4(),
    "mlp": shipped("backbone", "mlp", hidden=[8], batch_norm=True, weight_init="uniform"),
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


CASES = [(name, network, standing_in) for name in LEARNERS for network in NETWORKS]
CASES += [(name, "mlp", traced) for name in LEARNERS]
CASES += [("maml", "conv4", traced)]  # takes a second to record


@pytest.mark.parametrize(("name", "network", "record"), CASES)
def test_replays_are_the_steps_of_the_learner(name, network, record):
    engine = Vmap(LEARNERS[name].build(NETWORKS[network].build(SOURCE.input_shape), SOURCE, TRAIN))
    learner, recorded = Learner(engine), Learner(Recorded(engine, record))
    params = double(learner.init(0))
    seen = []
    for epoch, batch in ((0, BATCH), (0, OTHER), (4, BATCH)):
        expected = learner.meta_gradient(params, batch, at_epoch(epoch))
        found = recorded.meta_gradient(params, batch, at_epoch(epoch))
        assert found.query_steps == expected.query_steps
        seen.append((tensors_of(expected), tensors_of(found)))
        for weight, slope in zip(params.theta.values(), expected.gradient.values(), strict=True):
            weight.sub_(0.01 * slope)
        params.state.update(expected.state)
    for expected, found in seen:  # only now: a later replay must not have changed an earlier step
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_constants_changes_in_place_and_several_results_are_recorded():
    def function(values):
        x, y = values
        scale = torch.tensor([1.0, 2.0])
        scale.mul_(x)
        first, second = y.detach().unbind()
        return [scale + first, second]

    replay = traced(function, [torch.zeros(2), torch.zeros(2, 2)])
    for _ in range(2):  # a replay must not change the constant
        found = replay([torch.tensor([3.0, 4.0]), torch.tensor([[1.0, 1.0], [5.0, 6.0]])])
        assert [tensor.tolist() for tensor in found] == [[4.0, 9.0], [5.0, 6.0]]


def test_views_of_what_is_known_are_not_written():
    def function(values):
        (x,) = values
        y = x * 2
        y.t().t().add_(x.view(x.shape))  # changes y
        return [y + y.expand(y.shape)]

    graph = written(function, [torch.zeros(2, 3)]).graph
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [
        getitem,  # x
        *(torch.ops.aten.mul.Tensor, torch.ops.aten.add_.Tensor, torch.ops.aten.add.Tensor),
    ]
    (found,) = traced(function, [torch.zeros(2, 3)])([torch.ones(2, 3)])
    assert found.tolist() == [[6.0] * 3] * 2


def test_inputs_that_share_memory_while_recording_may_differ_later():
    zeros = torch.zeros(2)
    replay = traced(lambda values: [values[0] + values[1].view(2)], [zeros, zeros.detach()])
    (found,) = replay([torch.ones(2), torch.full((2,), 5.0)])
    assert found.tolist() == [6.0, 6.0]


def test_what_cannot_be_recorded_is_said():
    def waits(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    engine = Vmap(LEARNERS["maml"].build(NETWORKS["mlp"].build(SOURCE.input_shape), SOURCE, TRAIN))
    recorded = Learner(Recorded(engine, waits))
    with pytest.raises(UsageError, match=r"not permitted when .*: set engine=vmap"):
        recorded.meta_gradient(double(recorded.init(0)), BATCH, at_epoch(0))


def test_memory_that_runs_out_while_recording_is_not_the_engines_fault():
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    network = NETWORKS["mlp"].build(SOURCE.input_shape)
    algorithm = LEARNERS["maml"].build(network, SOURCE, TRAIN)
    learner = Learner(Recorded(Vmap(algorithm), full))
    with pytest.raises(torch.OutOfMemoryError):
        learner.meta_gradient(learner.init(0), BATCH, at_epoch(0))


def test_a_value_that_is_read_back_is_refused_while_recording():
    """Its graph would hold that value whatever comes later."""

    class Reading(Vmap):
        def step(self, params, episodes, phase):
            scale = 2.0 if float(episodes.support_x.sum()) > 0 else 1.0
            doubled = episodes._replace(query_x=scale * episodes.query_x)
            return super().step(params, doubled, phase)

    network = NETWORKS["mlp"].build(SOURCE.input_shape)
    recorded = Learner(Recorded(Reading(LEARNERS["maml"].build(network, SOURCE, TRAIN)), traced))
    with pytest.raises(UsageError, match="cannot record an iteration"):
        recorded.meta_gradient(double(recorded.init(0)), BATCH, at_epoch(0))

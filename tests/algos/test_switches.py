"""Each switch of MAML++ changes what it should and nothing else."""

import pytest
import torch
from problems import (
    FakeSource,
    Line,
    at_epoch,
    conv4,
    evaluated,
    image_batch,
    images,
    learner,
    points,
)

STEPS = 3
CONV4 = conv4()
ADAPTED = [f"body.{b}.conv.{p}" for b in range(4) for p in ("weight", "bias")] + [
    "head.weight",
    "head.bias",
]
NORMS = [f"body.{b}.norm.{p}" for b in range(4) for p in ("weight", "bias")]


def built(**switches):
    return learner(CONV4, images(ways=3), inner_steps=STEPS, **switches)


def test_all_off_learns_the_network_and_nothing_else():
    params = built().init(0)
    assert set(params.theta) == {f"model.{n}" for n in ADAPTED + NORMS}
    assert params.state == {}  # nothing is gathered that nothing uses


def test_lslr_adds_one_rate_per_adapted_tensor_and_step():
    off, on = built().init(0), built(lslr=True).init(0)
    added = {n: t for n, t in on.theta.items() if n not in off.theta}
    assert set(added) == {f"inner_lr.{n}" for n in ADAPTED}
    assert all(torch.equal(t, torch.full((STEPS,), 0.1)) for t in added.values())
    assert all(torch.equal(on.theta[n], t) for n, t in off.theta.items())


def test_bnwb_gives_every_step_its_gains_and_biases():
    off, on = built().init(0), built(bnwb=True).init(0)
    for name in NORMS:
        rows = on.theta[f"model.{name}"]
        assert rows.shape == (STEPS, 4)
        assert torch.equal(rows, off.theta[f"model.{name}"].expand(STEPS, 4))
    assert all(torch.equal(on.theta[f"model.{n}"], off.theta[f"model.{n}"]) for n in ADAPTED)


def test_bnwb_uses_row_i_in_step_i():
    """A change of one row moves the outputs from that step on, and those before it stay."""
    found, source = built(bnwb=True), images(ways=3)
    params, batch = found.init(0), image_batch(1, 3, 1, 2, source)
    batch = batch._replace(support_x=batch.support_x.float(), query_x=batch.query_x.float())
    before = found.predict(params, batch, evaluated(range(STEPS + 1), "batch"))[0]
    params.theta["model.body.0.norm.bias"][1] += 0.5  # the row of the second step
    after = found.predict(params, batch, evaluated(range(STEPS + 1), "batch"))[0]
    unchanged = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert unchanged == [True, True, False, False]


def float_batch(tasks):
    batch = image_batch(tasks, 3, 1, 2, images(ways=3))
    return batch._replace(support_x=batch.support_x.float(), query_x=batch.query_x.float())


def test_bnrs_keeps_statistics_per_step():
    shared, per_step = (built(bn_stats="running", bnrs=on) for on in (False, True))
    one, many = (
        f.meta_gradient(f.init(0), float_batch(2), at_epoch(0)) for f in (shared, per_step)
    )
    torch.testing.assert_close(one.gradient, many.gradient)  # in the warm-up nothing uses them
    name = "running.body.1.norm.input"
    assert many.state[name].shape == (STEPS, 4, 8, 8)
    assert not torch.equal(many.state[name][0], many.state[name][-1])
    torch.testing.assert_close(one.state[name], many.state[name].mean(0, keepdim=True))


def test_running_statistics_are_those_of_the_queries_at_the_first_convolution():
    """With a rate of zero nothing adapts; the first update replaces zeros and ones."""
    found = built(bn_stats="running", inner_lr=0.0)
    params, batch = found.init(0), float_batch(2)
    state = found.meta_gradient(params, batch, at_epoch(0)).state
    weight = params.theta["model.body.0.conv.weight"]
    y = [torch.nn.functional.conv2d(x, weight, padding=1) for x in batch.query_x]
    var = torch.stack([t.var((0, 2, 3), unbiased=False) for t in y]).mean(0)
    expected = batch.query_x.mean((0, 1))
    torch.testing.assert_close(state["running.body.0.norm.input"][0], expected)
    ratio = var / weight.square().sum((1, 2, 3))
    torch.testing.assert_close(state["running.body.0.norm.ratio"][0], ratio)
    assert state["updates.count"] == 1


def test_running_statistics_move_by_a_tenth_after_ten_updates():
    found = built(bn_stats="running", inner_lr=0.0)
    params, batch = found.init(0), float_batch(2)
    params.state["updates.count"].fill_(10)
    params.state["running.body.0.norm.input"].fill_(3.0)
    state = found.meta_gradient(params, batch, at_epoch(0)).state
    expected = 0.9 * 3.0 + 0.1 * batch.query_x.mean((0, 1))
    torch.testing.assert_close(state["running.body.0.norm.input"][0], expected)


def test_after_the_warm_up_queries_are_normalised_by_running_statistics():
    """Given the batch's own statistics they normalise as the batch does; others, otherwise."""
    found = built(bn_stats="running", inner_lr=0.0)
    params, batch = found.init(0), float_batch(1)
    warm = found.meta_gradient(params, batch, at_epoch(0))
    params.state.update(warm.state)
    late = found.meta_gradient(params, batch, at_epoch(50))
    torch.testing.assert_close(late.loss, warm.loss, rtol=1e-4, atol=1e-5)
    params.state["running.body.0.norm.input"].add_(0.5)
    other = found.meta_gradient(params, batch, at_epoch(50))
    assert abs(other.loss - warm.loss) > 1e-3


def test_ca_anneals_the_outer_rate_and_off_keeps_it():
    off, on = (learner(Line(), FakeSource(), ca=ca) for ca in (False, True))
    assert [off.algorithm.outer_lr(at_epoch(e)) for e in (0, 50, 99)] == [1e-3] * 3
    # 1e-5 + (1e-3 - 1e-5) (1 + cos(pi e / 100)) / 2: middle 5.05e-4, last epoch 1.0244e-5
    assert on.algorithm.outer_lr(at_epoch(0)) == pytest.approx(1e-3)
    assert on.algorithm.outer_lr(at_epoch(50)) == pytest.approx(5.05e-4)
    assert on.algorithm.outer_lr(at_epoch(99)) == pytest.approx(1.0244e-5, rel=1e-3)


def test_only_msl_looks_at_the_query_set_after_every_step():
    batch = points((1.0, 2.0))
    off, on = (learner(Line(), FakeSource(), inner_steps=STEPS, msl=m) for m in (False, True))
    assert off.meta_gradient(off.init(0), batch, at_epoch(0)).query_steps == (STEPS,)
    assert on.meta_gradient(on.init(0), batch, at_epoch(0)).query_steps == (1, 2, 3)
    assert on.meta_gradient(on.init(0), batch, at_epoch(10)).query_steps == (STEPS,)

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
    assert set(params.state) == {
        f"running.body.{b}.norm.{s}" for b in range(4) for s in ("mean", "var")
    }
    assert all(t.shape == (1, 4) for t in params.state.values())


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


def test_bnrs_keeps_statistics_per_step():
    source = images(ways=3)
    batch = image_batch(2, 3, 1, 2, source)
    batch = batch._replace(support_x=batch.support_x.float(), query_x=batch.query_x.float())
    shared, per_step = built(), built(bnrs=True)
    one = shared.meta_gradient(shared.init(0), batch, at_epoch(0))
    many = per_step.meta_gradient(per_step.init(0), batch, at_epoch(0))
    torch.testing.assert_close(one.gradient, many.gradient)  # training itself does not change
    for name, rows in many.state.items():
        assert rows.shape == (STEPS, 4)
        assert not torch.equal(rows[0], rows[-1])
        torch.testing.assert_close(one.state[name], rows.mean(0, keepdim=True))


def test_running_statistics_are_those_of_the_first_convolution():
    """One step of momentum 0.1 from mean 0, var 1, against torch's own batch statistics."""
    found, source = built(), images(ways=3)
    params, batch = found.init(0), image_batch(1, 3, 1, 2, source)
    batch = batch._replace(support_x=batch.support_x.float(), query_x=batch.query_x.float())
    # With a rate of zero nothing adapts: all passes see theta.
    found = learner(CONV4, source, inner_steps=STEPS, inner_lr=0.0)
    state = found.meta_gradient(params, batch, at_epoch(0)).state
    weight, bias = (params.theta[f"model.body.0.conv.{p}"] for p in ("weight", "bias"))

    def stats(x):
        y = torch.nn.functional.conv2d(x, weight, bias, padding=1)
        return y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)

    support, query = stats(batch.support_x[0]), stats(batch.query_x[0])
    last = [(s + q) / 2 for s, q in zip(support, query, strict=True)]  # query pass at the last step
    mean, var = ((2 * s + m) / 3 for s, m in zip(support, last, strict=True))
    torch.testing.assert_close(state["running.body.0.norm.mean"][0], 0.1 * mean)
    torch.testing.assert_close(state["running.body.0.norm.var"][0], 0.9 + 0.1 * var)


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

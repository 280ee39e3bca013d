"""Tasks shared out to processes: the results of one process, whoever computed which task."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
from problems import (
    TRAIN,
    Learner,
    at_epoch,
    conv4,
    double,
    evaluated,
    image_batch,
    images,
    maml,
    shipped,
)

from maml_cli.core.errors import ProcessLost
from maml_cli.engines import processes
from maml_cli.engines.per_task import lean_loop
from maml_cli.engines.processes import Processes

pytestmark = [
    pytest.mark.skipif(not processes.AVAILABLE, reason="needs Linux"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # pytest has threads too
]
SOURCE = images(3)
BATCH = image_batch(5, 3, 1, 2, SOURCE)  # five tasks: three for one process and two for the other
ALL_ON = {"msl": True, "bnrs": True, "bnwb": True, "lslr": True}
REPTILE = {"inner_steps": 3, "inner_lr": 0.01, "inner_batch": 2, "eval_inner_batch": 2}
LEARNERS = {
    "maml": maml(),
    "maml++": maml(**ALL_ON),
    "first order, recomputed": maml(**ALL_ON, order=1, recompute=True),
    "meta-sgd": maml(lslr=True, rate_per_weight=True),
    "reptile": shipped("algo", "reptile", **REPTILE, carry_moments=False),
    "reptile with moments": shipped("algo", "reptile", **REPTILE),
}


def shared(settings, count=2):
    """A learner in this process, and the same one in processes."""
    algorithm = settings.build(conv4().build(SOURCE.input_shape), SOURCE, TRAIN)
    return Learner(lean_loop(algorithm)), Learner(Processes(algorithm, processes=count))


@pytest.mark.parametrize("name", LEARNERS)
def test_it_is_the_result_of_one_process(name):
    alone, found = shared(LEARNERS[name])
    params = double(alone.init(0))
    expected, step = (x.meta_gradient(params, BATCH, at_epoch(0)) for x in (alone, found))
    assert step.query_steps == expected.query_steps
    torch.testing.assert_close(step.query_metric, expected.query_metric)  # of float32
    for field in ("gradient", "state", "loss", "query_loss"):
        torch.testing.assert_close(
            getattr(step, field), getattr(expected, field), rtol=1e-9, atol=1e-11
        )
    outputs = [x.predict(params, BATCH, evaluated((0, 2), "support")) for x in (alone, found)]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)
    assert outputs[1].shape == (5, 2, 6, 3)


def test_one_task_is_work_for_one_process():
    alone, found = shared(LEARNERS["maml"], count=3)
    params, one = double(alone.init(0)), image_batch(1, 3, 1, 2, SOURCE)
    steps = [x.meta_gradient(params, one, at_epoch(0)) for x in (alone, found)]
    torch.testing.assert_close(steps[0].gradient, steps[1].gradient, rtol=1e-9, atol=1e-11)


def workers_of(make):
    before = set(multiprocessing.active_children())
    made = make()
    return made, set(multiprocessing.active_children()) - before


def test_a_killed_process_is_named_with_the_way_out():
    (alone, found), workers = workers_of(lambda: shared(LEARNERS["maml"]))
    params = double(alone.init(0))
    found.meta_gradient(params, BATCH, at_epoch(0))
    assert len(workers) == 2
    os.kill(min(w.pid for w in workers), signal.SIGKILL)

    def go_on_until_it_is_noticed():
        for _ in range(100):
            found.meta_gradient(params, BATCH, at_epoch(0))

    with pytest.raises(ProcessLost, match=r"memory ran out.*goes on"):
        go_on_until_it_is_noticed()


def test_a_signal_to_all_is_left_to_the_parent():
    (alone, found), workers = workers_of(lambda: shared(LEARNERS["maml"]))
    for worker in workers:
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(worker.pid, number)
    found.meta_gradient(double(alone.init(0)), BATCH, at_epoch(0))
    assert all(worker.is_alive() for worker in workers)


def test_the_processes_end_with_the_learner():
    (_, found), workers = workers_of(lambda: shared(LEARNERS["maml"]))
    assert all(worker.is_alive() for worker in workers)
    del found, _
    limit = time.monotonic() + 30
    while any(worker.is_alive() for worker in workers):
        assert time.monotonic() < limit
        time.sleep(0.01)

"""A support set with more examples of one class than of another."""

from dataclasses import replace

import pytest
import torch
from problems import CPU, TRAIN, evaluated, shipped

from maml_cli.core.objective import class_balanced
from maml_cli.core.types import Episode
from maml_cli.engines.choice import make_engine
from maml_cli.testing.problems import Source


@pytest.mark.parametrize("algo", ["maml", "anil", "finetune"])
@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_repeated_examples_adapt_as_one_of_each_does(algo, engine):
    generator = torch.Generator().manual_seed(3)
    one_each = torch.randn(1, 2, 3, generator=generator, dtype=torch.float64)
    query = torch.randn(1, 4, 3, generator=generator, dtype=torch.float64)
    network = shipped("backbone", "mlp", hidden=[5]).build((3,))
    settings = shipped("algo", algo, inner_steps=3)

    def predicted(support: torch.Tensor, labels: list[int]) -> torch.Tensor:
        counts = [labels.count(0), labels.count(1)]
        source = Source(
            input_shape=(3,), output_size=2, train_classes=2, objective=class_balanced(counts)
        )
        algorithm = settings.build(network, source, replace(TRAIN, outer_lr=0.1))
        episode = Episode(
            support_x=support,
            support_y=torch.tensor([labels]),
            query_x=query,
            query_y=torch.zeros(1, 4, dtype=torch.int64),
            classes=torch.tensor([[0, 1]]),
            key=torch.zeros(1, 2, dtype=torch.int64),
        )
        params = algorithm.init(0)
        doubles = {
            s: {n: t.double() for n, t in tensors.items()} for s, tensors in params.theta.items()
        }
        made = make_engine(engine, algorithm, CPU)
        return made.predict(replace(params, theta=doubles), episode, evaluated([3], "batch"))

    repeated = predicted(one_each[:, [0, 0, 0, 0, 1]], [0, 0, 0, 0, 1])
    torch.testing.assert_close(repeated, predicted(one_each, [0, 1]), rtol=1e-9, atol=1e-12)

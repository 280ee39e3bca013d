"""Inputs of a block, the same block of torch's operations, and its derivatives."""

import torch
import torch.nn.functional as F
from torch.autograd import grad

EPS = 1e-3
NAMES = ("x", "kernel", "gain", "bias")
GAINS = torch.tensor([0.7, -1.3, 1.6, -0.4], dtype=torch.float64)


def inputs(constants=(), channels=3, size=(6, 5)):
    """A batch, a kernel, gains of both signs and biases; those named are constants."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    values = (normal(2, channels, *size), normal(4, channels, 3, 3), GAINS.clone(), normal(4))
    return [v.requires_grad_(n not in constants) for n, v in zip(NAMES, values, strict=True)]


def composite(x, kernel, gain, bias):
    c = F.conv2d(x, kernel, padding=1)
    return F.max_pool2d(F.batch_norm(c, None, None, gain, bias, training=True, eps=EPS), 2)


def derivatives(block, given):
    """To second order, as MAML takes them: a step, and the gradient of what is found after it."""
    learned = [t for t in given if t.requires_grad]
    loss = block(*given).pow(3).sum()
    gradient = grad(loss, learned, create_graph=True)
    moved = iter([t - 0.1 * g for t, g in zip(learned, gradient, strict=True)])
    after = block(*(next(moved) if t.requires_grad else t for t in given)).sin().sum()
    return *gradient, *grad(after + sum(g.cos().sum() for g in gradient), learned)

"""Diagonal Gaussians: their divergence, and samples of them."""

from typing import NamedTuple

from torch import Tensor


class Gaussian(NamedTuple):
    """Independent normal numbers, `(..., size)`."""

    mean: Tensor
    log_var: Tensor
    """The logarithm of the variance."""

    def at(self, noise: Tensor) -> Tensor:
        """The sample that standard normal noise of this shape becomes."""
        return self.mean + (self.log_var / 2).exp() * noise


def kl(p: Gaussian, q: Gaussian) -> Tensor:
    """`KL(p || q)`, summed over the last dimension; the others are broadcast.

    For one number, `(log v_q - log v_p + (v_p + (m_p - m_q)^2) / v_q - 1) / 2`.
    """
    ratio = (p.log_var.exp() + (p.mean - q.mean).square()) * (-q.log_var).exp()
    return (q.log_var - p.log_var + ratio - 1).sum(-1) / 2


def kl_to_standard(p: Gaussian) -> Tensor:
    """`KL(p || N(0, I))`, summed over the last dimension."""
    return (p.log_var.exp() + p.mean.square() - 1 - p.log_var).sum(-1) / 2

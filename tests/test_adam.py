"""Adam's eps goes where TensorFlow puts it: against the textbook's formula with the step size corrected instead of the moments."""

from __future__ import annotations

import math

import pytest
import torch

from growreel.training.adam import ReleasedAdam


@pytest.mark.parametrize("beta1", [0.0, 0.5])
def test_updates_are_those_of_the_released_code(beta1: float) -> None:
    """lr_k = lr sqrt(1 - b2^k) / (1 - b1^k); p <- p - lr_k m / (sqrt(v) + eps), also after a state was brought back."""
    rate, beta2, eps = 0.01, 0.99, 1e-4
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    optimizer = ReleasedAdam([parameter], betas=(beta1, beta2), eps=eps)
    expected, m, v = parameter.detach().clone(), torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for k in range(1, 7):
        gradient = torch.randn(5, dtype=torch.float64) * 10.0**-k
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        expected -= rate * math.sqrt(1 - beta2**k) / (1 - beta1**k) * m / (v.sqrt() + eps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        parameter.grad = gradient
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-10, atol=1e-14)
        if k == 3:
            kept = optimizer.state_dict()
            optimizer = ReleasedAdam([parameter], betas=(beta1, beta2), eps=eps)
            optimizer.load_state_dict(kept)

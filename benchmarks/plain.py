"""The same mathematics as `growreel`, written straight down: what the fast version is measured and tested against.

Clips are up-scaled before and pooled after full-size convolutions, everything is float32, real, fake and mixed clips pass the
discriminator one after the other, and the gradient penalty is differentiated by autograd. Nothing of `growreel.models` or
`growreel.losses` is used; weights are looked up by the names of a growreel state dict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]
Sizes = Sequence[tuple[int, int, int]]
GRADIENT_WEIGHT, FEATURE_WEIGHT, FEATURE_TARGET = 50.0, 10.0, 0.01


def leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor) -> Tensor:
    return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)


def layer(weights: Weights, name: str, x: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    """A convolution or a dense layer with equalised learning rate; a bias of one value per channel serves a whole map."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    weight = weight * (gain / math.sqrt(weight[0].numel()))
    if weight.dim() == 2:
        return F.linear(x, weight, bias.repeat_interleave(len(weight) // len(bias)))
    return F.conv3d(x, weight, bias, padding=weight.shape[2] // 2)


def name_of(size: tuple[int, int, int]) -> str:
    return "x".join(map(str, size))


def ratio(sizes: Sizes, stage: int) -> tuple[int, ...]:
    return tuple(after // before for before, after in zip(sizes[stage - 1], sizes[stage], strict=True))


def upsample(x: Tensor, factors: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, scale_factor=[float(factor) for factor in factors], mode="nearest")


def generator(weights: Weights, sizes: Sizes, stage: int, alpha: float, latents: Tensor) -> Tensor:
    """Clips [n, c, *sizes[stage]] from latents [n, d]."""
    x = layer(weights, "dense", pixel_norm(latents), gain=math.sqrt(2) / 4).view(len(latents), -1, *sizes[0])
    x = pixel_norm(leaky_relu(x))
    x = before = pixel_norm(leaky_relu(layer(weights, "first", x)))
    for i in range(1, stage + 1):
        before = x
        block = f"blocks.{name_of(sizes[i])}"
        x = upsample(x, ratio(sizes, i))
        x = pixel_norm(leaky_relu(layer(weights, f"{block}.conv0", x)))
        x = pixel_norm(leaky_relu(layer(weights, f"{block}.conv1", x)))
    rgb = layer(weights, f"to_rgb.{name_of(sizes[stage])}", x, gain=1)
    if alpha == 1 or stage == 0:
        return rgb
    old = upsample(layer(weights, f"to_rgb.{name_of(sizes[stage - 1])}", before, gain=1), ratio(sizes, stage))
    return (1 - alpha) * old + alpha * rgb


def discriminator(weights: Weights, sizes: Sizes, stage: int, alpha: float, clips: Tensor) -> Tensor:
    """Features [n, d] of clips [n, c, *sizes[stage]]."""
    x = leaky_relu(layer(weights, f"from_rgb.{name_of(sizes[stage])}", clips))
    for i in range(stage, 0, -1):
        block = f"blocks.{name_of(sizes[i])}"
        x = leaky_relu(layer(weights, f"{block}.conv0", x))
        x = leaky_relu(F.avg_pool3d(layer(weights, f"{block}.conv1", x), ratio(sizes, i)))
        if i == stage and alpha < 1:
            old = leaky_relu(layer(weights, f"from_rgb.{name_of(sizes[i - 1])}", F.avg_pool3d(clips, ratio(sizes, i))))
            x = (1 - alpha) * old + alpha * x
    x = leaky_relu(layer(weights, "last", torch.cat([x, deviation_map(x)], dim=1)))
    return leaky_relu(layer(weights, "dense", x.flatten(1)))


def deviation_map(x: Tensor) -> Tensor:
    """Standard deviation over groups of up to four clips (i, i + n/4, ...), averaged to one number, as a map [n, 1, t, h, w]."""
    n = len(x)
    group = next(g for g in (4, 3, 2, 1) if n % g == 0)
    deviation = (x.view(group, n // group, *x.shape[1:]).var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3, 4))
    return deviation.repeat(group)[:, None, None, None, None].expand(n, 1, *x.shape[2:])


def slices(head: Weights, features: Tensor) -> Tensor:
    """The SWD block before its leaky ReLU, [n, slices]."""
    projections = torch.cat([features @ matrix for matrix in head["swd.matrices"]], dim=1)
    return head["swd.scale"] * projections + head["swd.bias"]


def discriminator_loss(
    weights: Weights, head: Weights, sizes: Sizes, stage: int, alpha: float, real: Tensor, fake: Tensor, mix: Tensor, feature_mix: Tensor
) -> Tensor:
    """L_D of swgan with the released form of the second penalty; arguments as in `AdversarialLoss.discriminator_loss`."""

    def critic(features: Tensor) -> Tensor:
        return leaky_relu(slices(head, features)).mean(dim=1)

    real_features = discriminator(weights, sizes, stage, alpha, real)
    fake_features = discriminator(weights, sizes, stage, alpha, fake)
    t = mix[:, None, None, None, None]
    mixed = ((1 - t) * real + t * fake).requires_grad_()
    scores = critic(discriminator(weights, sizes, stage, alpha, mixed))
    (gradient,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
    gradient_penalty = ((1 - t) * gradient).square().sum(dim=(1, 2, 3, 4)).mean()
    u = feature_mix[:, None]
    before = slices(head, (1 - u) * real_features + u * fake_features)
    slope = torch.where(before > 0, 1.0, 0.2)
    feature_penalty = (head["swd.scale"] * slope * leaky_relu(before).abs() - FEATURE_TARGET).square().mean()
    adversarial = critic(real_features).mean() - critic(fake_features).mean()
    return adversarial + GRADIENT_WEIGHT * gradient_penalty + FEATURE_WEIGHT * feature_penalty


def generator_loss(weights: Weights, head: Weights, sizes: Sizes, stage: int, alpha: float, fake: Tensor) -> Tensor:
    """L_G of swgan for clips that carry the generator's gradient."""
    return leaky_relu(slices(head, discriminator(weights, sizes, stage, alpha, fake))).mean()


class PlainTrainer:
    """Steps of discriminator and generator on copies of growreel's weights, with Adam and the moving average.

    Args:
        generator_weights, discriminator_weights, head: state dicts of growreel's modules.
        sizes: of the growth plan.
    """

    def __init__(self, generator_weights: Weights, discriminator_weights: Weights, head: Weights, sizes: Sizes) -> None:
        self.g, self.d, self.head = (
            {name: tensor.detach().clone().requires_grad_() for name, tensor in weights.items()}
            for weights in (generator_weights, discriminator_weights, head)
        )
        self.average = {name: tensor.detach().clone() for name, tensor in self.g.items()}
        self.sizes = sizes
        self.g_adam = torch.optim.Adam(self.g.values(), lr=0.001, betas=(0.0, 0.99))
        self.d_adam = torch.optim.Adam([*self.d.values(), *self.head.values()], lr=0.001, betas=(0.0, 0.99))

    def step(self, stage: int, alpha: float, real: Tensor) -> None:
        """One step of both networks on real clips [n, c, t, h, w]."""
        n, latent_dim = len(real), self.g["dense.weight"].shape[1]
        with torch.no_grad():
            fake = generator(self.g, self.sizes, stage, alpha, torch.randn(n, latent_dim))
        loss = discriminator_loss(self.d, self.head, self.sizes, stage, alpha, real, fake, torch.rand(n), torch.rand(n))
        self.d_adam.zero_grad()
        loss.backward()
        matrices = self.head["swd.matrices"]
        for matrix, gradient in zip(matrices.detach(), matrices.grad, strict=True):  # type: ignore[arg-type]
            product = matrix.T @ gradient
            gradient -= matrix @ (product + product.T) / 2
        self.d_adam.step()
        with torch.no_grad():
            q, r = torch.linalg.qr(matrices.double())
            matrices.copy_(q * torch.diagonal(r, dim1=-2, dim2=-1).sign().unsqueeze(-2))
        fake = generator(self.g, self.sizes, stage, alpha, torch.randn(n, latent_dim))
        loss = generator_loss(self.d, self.head, self.sizes, stage, alpha, fake)
        self.g_adam.zero_grad()
        loss.backward()
        self.g_adam.step()
        with torch.no_grad():
            for name, tensor in self.g.items():
                self.average[name].mul_(0.999).add_(tensor, alpha=0.001)

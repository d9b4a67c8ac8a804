"""Slow float64 reference of PG-SWGAN-3D (arXiv 1810.02419) in numpy, written from the paper's facts and not from `src`.

Tests compare the package against these functions. Loops are explicit where that is clearest, nothing is differentiated
automatically: gradients are central finite differences. Use tiny shapes.

Legend: n clips, c channels, t/h/w frames/rows/columns, d feature length, m slicing matrices. Clips are [n, c, t, h, w].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
State = Mapping[str, npt.NDArray[Any]]
Factors = Sequence[int]
Sizes = Sequence[Sequence[int]]
Critic = Callable[[Array], Array]
Form = Literal["released", "slope"]

SLOPE = 0.2
EPS = 1e-8


class DiscriminatorLoss(NamedTuple):
    """The total and its parts, the parts before their weights."""

    total: float
    adversarial: float
    gradient_penalty: float
    extra: float  # SWGAN: the feature penalty; WGAN-GP: the drift term


def leaky_relu(x: Array, slope: float = SLOPE) -> Array:
    """y = x where x > 0, else slope * x. Any shape."""
    return np.where(x > 0, x, slope * x)


def pixel_norm(x: Array, axis: int = 1, eps: float = EPS) -> Array:
    """y = x / sqrt(mean_axis(x^2) + eps). Any shape."""
    mean_square: Array = np.sum(x * x, axis=axis, keepdims=True) / x.shape[axis]
    return x / np.sqrt(mean_square + eps)


def conv3d(x: Array, weight: Array, held: bool = False) -> Array:
    """y[n,o,p] = sum_{c,k} weight[o,c,k] x[n,c,p + k - K//2], zero outside; stride 1. x [n,c,t,h,w], weight [o,c,kt,kh,kw], odd k.

    `held`: before the first frame it stands, and after the last one that.
    """
    n, c, t, h, w = x.shape
    outputs, c_in, kt, kh, kw = weight.shape
    if c != c_in or not kt % 2 == kh % 2 == kw % 2 == 1:
        raise ValueError(f"conv3d: x {x.shape} and weight {weight.shape} do not fit, or a kernel extent is even")
    padded = np.zeros((n, c, t + kt - 1, h + kh - 1, w + kw - 1))
    padded[:, :, kt // 2 : kt // 2 + t, kh // 2 : kh // 2 + h, kw // 2 : kw // 2 + w] = x
    if held:
        padded[:, :, : kt // 2] = padded[:, :, [kt // 2]]
        padded[:, :, kt // 2 + t :] = padded[:, :, [kt // 2 + t - 1]]
    y = np.zeros((n, outputs, t, h, w))
    for i in range(kt):
        for j in range(kh):
            for k in range(kw):
                y += np.einsum("oc,ncthw->nothw", weight[:, :, i, j, k], padded[:, :, i : i + t, j : j + h, k : k + w])
    return y


def upsample_nearest(x: Array, factors: Factors) -> Array:
    """y[n,c,i,j,k] = x[n,c,i//ft,j//fh,k//fw]. [n,c,t,h,w] -> [n,c,t*ft,h*fh,w*fw]."""
    n, c, t, h, w = x.shape
    ft, fh, fw = factors
    y = np.zeros((n, c, t * ft, h * fh, w * fw))
    for i in range(t * ft):
        for j in range(h * fh):
            for k in range(w * fw):
                y[:, :, i, j, k] = x[:, :, i // ft, j // fh, k // fw]
    return y


def average_pool(x: Array, factors: Factors) -> Array:
    """y = mean over disjoint boxes of ft x fh x fw. [n,c,t,h,w] -> [n,c,t/ft,h/fh,w/fw]; extents must divide."""
    n, c, t, h, w = x.shape
    ft, fh, fw = factors
    if t % ft or h % fh or w % fw:
        raise ValueError(f"average_pool: {x.shape} is not divisible by {tuple(factors)}")
    y = np.zeros((n, c, t // ft, h // fh, w // fw))
    for i in range(ft):
        for j in range(fh):
            for k in range(fw):
                y += x[:, :, i::ft, j::fh, k::fw]
    return y / (ft * fh * fw)


def minibatch_stddev(x: Array, group: int = 4, eps: float = EPS, per_channel: bool = False) -> Array:
    """Append one map with sd = mean_{c,t,h,w} sqrt(var_group(x) + eps) of the clip's group. [n,c,t,h,w] -> [n,c+1,t,h,w].

    Per channel: c maps, each with the mean over t, h and w of its channel, [n,2c,t,h,w].
    With g = min(group, n) and M = n/g groups, group j holds the clips j, j+M, j+2M, ...; the variance is the population's.
    """
    n, c, t, h, w = x.shape
    g = min(group, n)
    if n % g:
        raise ValueError(f"minibatch_stddev: {n} clips do not form groups of {g}")
    groups = n // g
    y = np.zeros((n, c + (c if per_channel else 1), t, h, w))
    y[:, :c] = x
    for j in range(groups):
        members = [j + i * groups for i in range(g)]
        mean = sum((x[i] for i in members), np.zeros((c, t, h, w))) / g
        variance = sum(((x[i] - mean) ** 2 for i in members), np.zeros((c, t, h, w))) / g
        deviation = np.sqrt(variance + eps)
        for k in range(y.shape[1] - c):
            y[members, c + k] = np.mean(deviation[k]) if per_channel else np.sum(deviation) / (c * t * h * w)
    return y


def lerp(old: Array, new: Array, alpha: float) -> Array:
    """(1 - alpha) old + alpha new."""
    return (1.0 - alpha) * old + alpha * new


def _name(size: Sequence[int]) -> str:
    t, h, w = size
    return f"{t}x{h}x{w}"


def _factors(before: Sequence[int], after: Sequence[int]) -> tuple[int, int, int]:
    """The factor, 1 or 2, by which each axis grows."""
    t, h, w = (b // a for a, b in zip(before, after, strict=True))
    return t, h, w


def _array(state: State, key: str) -> Array:
    return np.asarray(state[key], dtype=np.float64)


def _conv(state: State, name: str, x: Array, gain: float = math.sqrt(2.0), held: bool = False) -> Array:
    """Equalised convolution with bias: conv(x, w * gain / sqrt(c_in kt kh kw)) + b. [n,c,t,h,w] -> [n,o,t,h,w]."""
    weight, bias = _array(state, f"{name}.weight"), _array(state, f"{name}.bias")
    fan_in = weight.shape[1] * weight.shape[2] * weight.shape[3] * weight.shape[4]
    return conv3d(x, weight * (gain / math.sqrt(fan_in)), held) + bias[None, :, None, None, None]


def generator(state: State, sizes: Sizes, stage: int, alpha: float, latents: Array) -> Array:
    """G(z) at `sizes[stage]`, the newest block weighted by alpha. latents [n, latent] -> clips [n, colors, t, h, w].

    x = PN(lrelu(dense(PN(z)))), PN(lrelu(first(x))), then per block up, PN(lrelu(conv0)), PN(lrelu(conv1));
    out = lerp(up(to_rgb_old(x_old)), to_rgb_new(x_new), alpha).
    """
    weight, bias = _array(state, "dense.weight"), _array(state, "dense.bias")
    scale = math.sqrt(2.0) / 4.0 / math.sqrt(weight.shape[1])
    x = (pixel_norm(latents) @ (weight * scale).T).reshape(len(latents), len(bias), *sizes[0])
    x = pixel_norm(leaky_relu(x + bias[None, :, None, None, None]))
    x = pixel_norm(leaky_relu(_conv(state, "first", x)))
    old = x
    for i in range(1, stage + 1):
        old, block = x, f"blocks.{_name(sizes[i])}"
        x = upsample_nearest(x, _factors(sizes[i - 1], sizes[i]))
        x = pixel_norm(leaky_relu(_conv(state, f"{block}.conv0", x)))
        x = pixel_norm(leaky_relu(_conv(state, f"{block}.conv1", x)))
    clips = _conv(state, f"to_rgb.{_name(sizes[stage])}", x, gain=1.0)
    if stage == 0:
        return clips
    faded_out = _conv(state, f"to_rgb.{_name(sizes[stage - 1])}", old, gain=1.0)
    return lerp(upsample_nearest(faded_out, _factors(sizes[stage - 1], sizes[stage])), clips, alpha)


def modulated_conv(state: State, name: str, x: Array, styles: Array, factors: Factors = (1, 1, 1), held: bool = False) -> Array:
    """Clip by clip: a kernel whose input channels are weighed by 1 + A style, and which is divided by its own norm per output channel.

    The bias is divided with it; gain sqrt(2). Then a plane per output channel is added: slopes B style times frame, row and column, at the
    middle of every voxel, with the edges of the clip at -1 and 1; of five slopes the fourth times (3 frame^2 - 1) / 2, the fifth as it is.
    x [n,c,t,h,w] is first scaled up, and its ends may be held; styles [n,d].
    """
    x = upsample_nearest(x, factors)
    weight, bias = _array(state, f"{name}.conv.weight"), _array(state, f"{name}.conv.bias")
    weight = weight / math.sqrt(weight[0].size)
    d = styles.shape[1]
    y = np.zeros((len(x), len(bias), *x.shape[2:]))
    for i, style in enumerate(styles):
        scale = 1 + _array(state, f"{name}.scale.weight") @ style / math.sqrt(d) + _array(state, f"{name}.scale.bias")
        slopes = _array(state, f"{name}.slopes.weight") @ style * 0.5 / math.sqrt(d) + _array(state, f"{name}.slopes.bias")
        slopes = slopes.reshape(-1, len(bias))
        kernel = weight * scale[None, :, None, None, None]
        convolved = conv3d(x[i : i + 1], kernel, held)[0]
        for o in range(len(bias)):
            y[i, o] = math.sqrt(2) * (convolved[o] + bias[o]) / math.sqrt(np.sum(kernel[o] ** 2) + EPS)
            for axis, extent in enumerate(x.shape[2:]):
                middles = -1 + (np.arange(extent) + 0.5) * 2 / extent
                y[i, o] += slopes[axis, o] * np.moveaxis(np.broadcast_to(middles, (*np.delete(x.shape[2:], axis), extent)), -1, axis)
            if len(slopes) == 5:
                frames = -1 + (np.arange(x.shape[2]) + 0.5) * 2 / x.shape[2]
                y[i, o] += (slopes[3, o] * (3 * frames**2 - 1) / 2 + slopes[4, o])[:, None, None]
    return y


def modulated_generator(
    state: State, sizes: Sizes, stage: int, alpha: float, latents: Array, bound: float = 0, held: bool = False, skips: bool = False
) -> Array:
    """As `generator`, with styles from two dense layers kept ten times too large, modulated convolutions, and no pixel norm. Colours are
    as they come, or with a `bound` that times their tanh; the ends of time are `held`, or zeros. With `skips` colours are
    summed, before they are bounded, over the stages: those of the smaller ones scaled up, those of the newest weighed by alpha.
    """
    d = latents.shape[1]
    latents = pixel_norm(latents)
    styles = latents
    for k in range(2):
        weight, bias = _array(state, f"mapping.layers.{k}.weight"), _array(state, f"mapping.layers.{k}.bias")
        styles = leaky_relu(styles @ (weight * 0.1 * math.sqrt(2) / math.sqrt(weight.shape[1])).T + bias)
    weight, bias = _array(state, "dense.weight"), _array(state, "dense.bias")
    x = (latents @ (weight * (math.sqrt(2) / 4 / math.sqrt(d))).T).reshape(len(latents), len(bias), *sizes[0])
    x = leaky_relu(x + bias[None, :, None, None, None])
    x = leaky_relu(modulated_conv(state, "first", x, styles, held=held))
    old, every = x, [x]
    for i in range(1, stage + 1):
        old, block = x, f"blocks.{_name(sizes[i])}"
        x = leaky_relu(modulated_conv(state, f"{block}.conv0", x, styles, _factors(sizes[i - 1], sizes[i]), held))
        x = leaky_relu(modulated_conv(state, f"{block}.conv1", x, styles, held=held))
        every.append(x)
    if skips:
        summed = np.zeros(())
        for i, features in enumerate(every):
            colors = _conv(state, f"to_rgb.{_name(sizes[i])}", features, gain=1.0) * (alpha if 0 < i == stage else 1)
            summed = summed + upsample_nearest(colors, _factors(sizes[i], sizes[stage]))
        return bound * np.tanh(summed) if bound else summed

    def to_rgb(size: Sequence[int], features: Array) -> Array:
        rgb = _conv(state, f"to_rgb.{_name(size)}", features, gain=1.0)
        return bound * np.tanh(rgb) if bound else rgb

    clips = to_rgb(sizes[stage], x)
    if stage == 0:
        return clips
    faded_out = to_rgb(sizes[stage - 1], old)
    return lerp(upsample_nearest(faded_out, _factors(sizes[stage - 1], sizes[stage])), clips, alpha)


def discriminator(
    state: State, sizes: Sizes, stage: int, alpha: float, clips: Array, group: int = 4, other: bool = False, skips: bool = False
) -> Array:
    """E(x), the newest block weighted by alpha. clips [n, colors, t, h, w] at `sizes[stage]` -> features [n, d].

    x = lrelu(from_rgb(clip)); per block lrelu(pool(conv1(lrelu(conv0(x))))), after the newest block
    x = lerp(lrelu(from_rgb_old(pool(clip))), x, alpha); then stddev map, lrelu(last), lrelu(dense). No scalar head. `other`: a map for each
    channel, every lrelu of a block is that of (x - mean) / sqrt(variance + 1e-5), both of a channel of a clip, and the ends are held.
    With `skips`, x = lrelu(from_rgb(pooled clip)) + x at every smaller size, where the newest block's x counts alpha times.
    """

    def conv(name: str, x: Array) -> Array:
        return _conv(state, name, x, held=other)

    x = leaky_relu(_conv(state, f"from_rgb.{_name(sizes[stage])}", clips))
    norm = _normalized if other else _unchanged
    for i in range(stage, 0, -1):
        block, factors = f"blocks.{_name(sizes[i])}", _factors(sizes[i - 1], sizes[i])
        x = leaky_relu(norm(conv(f"{block}.conv0", x)))
        x = leaky_relu(norm(average_pool(conv(f"{block}.conv1", x), factors)))
        clips = average_pool(clips, factors)
        seen = leaky_relu(_conv(state, f"from_rgb.{_name(sizes[i - 1])}", clips))
        if skips:
            x = seen + x * (alpha if i == stage else 1)
        elif i == stage:
            x = lerp(seen, x, alpha)
    x = leaky_relu(conv("last", minibatch_stddev(x, group, per_channel=other)))
    weight, bias = _array(state, "dense.weight"), _array(state, "dense.bias")
    scale = math.sqrt(2.0) / math.sqrt(weight.shape[1])
    return leaky_relu(x.reshape(len(x), -1) @ (weight * scale).T + bias)


def _normalized(x: Array) -> Array:
    return np.stack([[(channel - channel.mean()) / np.sqrt(channel.var() + 1e-5) for channel in clip] for clip in x])


def _unchanged(x: Array) -> Array:
    return x


def channels(size: Sequence[int], base: int = 1024, limit: int = 128) -> int:
    """min(base / 2^i, limit) with i = log2(max(h, w)) - 1, that is min(2 base // max(h, w), limit)."""
    return min(2 * base // max(size[1], size[2]), limit)


def parameter_counts(
    sizes: Sizes, base: int = 1024, max: int = 128, latent: int = 128, feature: int = 128, colors: int = 3
) -> tuple[int, int]:
    """Trainable numbers of (generator, discriminator) with all stages built; `max` is the upper limit of the channels."""
    c = [channels(size, base, max) for size in sizes]
    cells = sizes[0][0] * sizes[0][1] * sizes[0][2]
    gen = c[0] * cells * latent + c[0] + (27 * c[0] * c[0] + c[0])
    dis = (27 * (c[0] + 1) * c[0] + c[0]) + (c[0] * cells * feature + feature)
    for low, high in pairwise(c):
        gen += (27 * low * high + high) + (27 * high * high + high)
        dis += (27 * high * high + high) + (27 * high * low + low)
    for count in c:
        gen += count * colors + colors
        dis += colors * count + count
    return gen, dis


def sliced_preactivation(features: Array, matrices: Array, scale: Array, bias: Array) -> Array:
    """u_i = s_i <e, column i> + b_i. features [n,d], matrices [m,d,d], scale and bias [m*d] -> [n, m*d]; matrix k fills k*d..(k+1)*d."""
    n, d = features.shape
    m = matrices.shape[0]
    u = np.zeros((n, m * d))
    for k in range(m):
        for j in range(d):
            i = k * d + j
            u[:, i] = scale[i] * (features @ matrices[k][:, j]) + bias[i]
    return u


def sliced_critic(features: Array, matrices: Array, scale: Array, bias: Array) -> tuple[Array, Array]:
    """F_i = lrelu(s_i p_i + b_i), S = mean_i F_i. features [n,d], matrices [m,d,d], scale and bias [m*d] -> S [n], F [n, m*d]."""
    values = leaky_relu(sliced_preactivation(features, matrices, scale, bias))
    return np.sum(values, axis=1) / values.shape[1], values


def mix(first: Array, second: Array, t: Array) -> Array:
    """(1 - t) first + t second with one t per clip. first, second [n, ...], t [n]."""
    shaped = t.reshape((len(t),) + (1,) * (first.ndim - 1))
    return (1.0 - shaped) * first + shaped * second


def swgan_feature_penalty(preactivation: Array, scale: Array, form: Form, target: float) -> float:
    """FP over clips and slices, from u = s p + b at the mixed features. preactivation [n, m*d], scale [m*d].

    released: mean (s_i [0.1(|y| - y) + 0.5(|y| + y)] - target)^2 with y = F = lrelu(u), target 0.01 in the released code;
    slope:    mean (s_i slope_i - target)^2 with slope_i = 1 where u_i > 0, else 0.2.
    """
    if form == "released":
        y = leaky_relu(preactivation)
        bracket = 0.1 * (np.abs(y) - y) + 0.5 * (np.abs(y) + y)
    else:
        bracket = np.where(preactivation > 0, 1.0, SLOPE)
    return float(np.mean((scale[None, :] * bracket - target) ** 2))


def finite_difference_gradient(critic: Critic, x: Array, h: float = 1e-5) -> Array:
    """d/dx of the sum over clips of critic(x), element by element: (f(x + h e) - f(x - h e)) / 2h. Any shape of x.

    Not exact where a leaky ReLU changes sign within h; the sum matters because the stddev map couples the clips of a group.
    """
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (np.sum(critic(up)) - np.sum(critic(down))) / (up[index] - down[index])
    return gradient


def swgan_gradient_penalty(critic: Critic, real: Array, fake: Array, t: Array, h: float = 1e-5) -> float:
    """mean_clips ||(1 - t) grad S(xhat)||^2, xhat = (1 - t) real + t fake; without its weight. real, fake [n,c,t,h,w], t [n]."""
    gradient = finite_difference_gradient(critic, mix(real, fake, t), h)
    return float(np.mean([np.sum(((1.0 - t[i]) * gradient[i]) ** 2) for i in range(len(real))]))


def swgan_discriminator_loss(
    encoder: Critic,
    matrices: Array,
    scale: Array,
    bias: Array,
    real: Array,
    fake: Array,
    t: Array,
    t_feature: Array,
    form: Form,
    target: float,
    gradient_weight: float = 50.0,
    feature_weight: float = 10.0,
    h: float = 1e-5,
) -> DiscriminatorLoss:
    """mean S(real) - mean S(fake) + 50 GP + 10 FP. encoder [n,c,t,h,w] -> [n,d]; real, fake clips; t, t_feature [n]."""

    def critic(x: Array) -> Array:
        return sliced_critic(encoder(x), matrices, scale, bias)[0]

    adversarial = float(np.mean(critic(real)) - np.mean(critic(fake)))
    gradient_penalty = swgan_gradient_penalty(critic, real, fake, t, h)
    mixed = mix(encoder(real), encoder(fake), t_feature)
    feature_penalty = swgan_feature_penalty(sliced_preactivation(mixed, matrices, scale, bias), scale, form, target)
    total = adversarial + gradient_weight * gradient_penalty + feature_weight * feature_penalty
    return DiscriminatorLoss(total, adversarial, gradient_penalty, feature_penalty)


def swgan_generator_loss(fake_scores: Array) -> float:
    """mean S(G(z)): the critic is high on fakes and the generator lowers it. fake_scores [n]."""
    return float(np.mean(fake_scores))


def wgan_gp_penalty(critic: Critic, real: Array, fake: Array, t: Array, target: float = 1.0, h: float = 1e-5) -> float:
    """mean_clips (||grad D(xhat)||_2 - target)^2, xhat = real + t (fake - real); without its weight. real, fake [n,c,t,h,w], t [n]."""
    gradient = finite_difference_gradient(critic, mix(real, fake, t), h)
    return float(np.mean([(math.sqrt(np.sum(gradient[i] ** 2)) - target) ** 2 for i in range(len(real))]))


def wgan_gp_discriminator_loss(
    critic: Critic,
    real: Array,
    fake: Array,
    t: Array,
    target: float = 1.0,
    gradient_weight: float = 10.0,
    drift_weight: float = 0.001,
    h: float = 1e-5,
) -> DiscriminatorLoss:
    """mean D(fake) - mean D(real) + 10 GP + 0.001 mean D(real)^2: the usual sign, high on real. critic [n,c,t,h,w] -> [n]."""
    real_scores, fake_scores = critic(real), critic(fake)
    adversarial = float(np.mean(fake_scores) - np.mean(real_scores))
    gradient_penalty = wgan_gp_penalty(critic, real, fake, t, target, h)
    drift = float(np.mean(real_scores**2))
    return DiscriminatorLoss(adversarial + gradient_weight * gradient_penalty + drift_weight * drift, adversarial, gradient_penalty, drift)


def wgan_gp_generator_loss(fake_scores: Array) -> float:
    """-mean D(G(z)). fake_scores [n]."""
    return -float(np.mean(fake_scores))


def repeated(clips: Array, factors: Factors) -> Array:
    """Every voxel repeated along t, h and w. [n,c,t,h,w] -> [n,c,t*ft,h*fh,w*fw]."""
    for axis, factor in enumerate(factors, start=2):
        clips = np.repeat(clips, factor, axis=axis)
    return clips


def at_full_size(critic: Critic, factors: Factors) -> Critic:
    """A critic of full-size clips that averages them down to its own size first, as the released code's does at every stage."""
    return lambda clips: critic(average_pool(clips, factors))


def half_squared_gradient(critic: Critic, x: Array, h: float = 1e-5) -> float:
    """mean_clips ||grad D(x)||^2 / 2: R1 at real clips, R2 at generated ones. x [n,c,t,h,w]."""
    return float(np.sum(finite_difference_gradient(critic, x, h) ** 2) / (2 * len(x)))


def relativistic_discriminator_loss(critic: Critic, real: Array, fake: Array, gamma: float) -> float:
    """mean log(1 + exp(D(fake) - D(real))) + gamma (R1 + R2), pair by pair. critic [n,c,t,h,w] -> [n]."""
    adversarial = float(np.mean(np.log1p(np.exp(critic(fake) - critic(real)))))
    return adversarial + gamma * (half_squared_gradient(critic, real) + half_squared_gradient(critic, fake))


def hinge_loss(real_scores: Array, fake_scores: Array) -> float:
    """mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake)). Scores [n]."""
    return float(np.mean(np.maximum(0, 1 - real_scores)) + np.mean(np.maximum(0, 1 + fake_scores)))


def riemannian_gradient(W: Array, g: Array) -> Array:
    """g - W sym(W^T g), sym(A) = (A + A^T) / 2: g projected on the tangent space of the Stiefel manifold at W. [d,d] or [m,d,d]."""
    if W.ndim == 3:
        return np.stack([riemannian_gradient(a, b) for a, b in zip(W, g, strict=True)])
    product = W.T @ g
    return g - W @ ((product + product.T) / 2.0)


def retract(W: Array) -> Array:
    """Q of W = QR with the diagonal of R positive, by Gram-Schmidt on the columns (each done twice). [d,d] or [m,d,d]."""
    if W.ndim == 3:
        return np.stack([retract(a) for a in W])
    q = np.zeros(W.shape)
    for j in range(W.shape[1]):
        column = W[:, j].copy()
        for _ in range(2):  # once more removes the rounding error of the first pass
            for i in range(j):
                column = column - np.sum(q[:, i] * column) * q[:, i]
        q[:, j] = column / math.sqrt(np.sum(column * column))
    return q


def adam_step(
    param: Array, grad: Array, m: Array, v: Array, step: int, lr: float, betas: tuple[float, float] = (0.0, 0.99), eps: float = EPS
) -> tuple[Array, Array, Array]:
    """The `step`-th (from 1) Adam update; returns (param, m, v). Any shape.

    m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, param <- param - lr (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps).
    """
    b1, b2 = betas
    m = b1 * m + (1.0 - b1) * grad
    v = b2 * v + (1.0 - b2) * grad * grad
    m_hat = m / (1.0 - b1**step)
    v_hat = v / (1.0 - b2**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def stiefel_adam_step(
    W: Array, grad: Array, m: Array, v: Array, step: int, lr: float, betas: tuple[float, float] = (0.0, 0.99), eps: float = EPS
) -> tuple[Array, Array, Array]:
    """Riemannian gradient, Adam step, retraction; returns (W, m, v). [d,d] or [m,d,d]."""
    moved, m, v = adam_step(W, riemannian_gradient(W, grad), m, v, step, lr, betas, eps)
    return retract(moved), m, v


def box_average(clip: Array, factors: Factors) -> Array:
    """A lower stage's real clip: the mean of each ft x fh x fw box. [..., t, h, w] -> [..., t/ft, h/fh, w/fw]."""
    t, h, w = clip.shape[-3:]
    ft, fh, fw = factors
    if t % ft or h % fh or w % fw:
        raise ValueError(f"box_average: {clip.shape} is not divisible by {tuple(factors)}")
    y = np.zeros((*clip.shape[:-3], t // ft, h // fh, w // fw))
    for i in range(t // ft):
        for j in range(h // fh):
            for k in range(w // fw):
                box = clip[..., i * ft : (i + 1) * ft, j * fh : (j + 1) * fh, k * fw : (k + 1) * fw]
                y[..., i, j, k] = np.mean(box, axis=(-3, -2, -1), dtype=np.float64)
    return y


def blend_real(clip: Array, factors: Factors, alpha: float) -> Array:
    """(1 - alpha) up(down(clip)) + alpha clip, box average then nearest along the growing axes. [..., t, h, w], same shape out."""
    ft, fh, fw = factors
    low = box_average(clip, factors)
    y = np.zeros(clip.shape)
    t, h, w = clip.shape[-3:]
    for i in range(t):
        for j in range(h):
            for k in range(w):
                y[..., i, j, k] = (1.0 - alpha) * low[..., i // ft, j // fh, k // fw] + alpha * clip[..., i, j, k]
    return y

"""Clip-consistent augmentation of what the discriminator sees (after Karras et al. 2020, arXiv 2006.06676, "ADA").

Real and generated clips alike pass through random transforms, drawn once per clip and the same in all its frames. As each transform is left
out often enough, a generator that makes transformed clips is told from one that makes real ones: nothing leaks into the samples
(section 2.2 there: safe up to a probability of 0.8).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MOST_SHIFT = 1 / 8
"""Of height or width."""
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0
"""Standard deviations: added, in units of the range -1 to 1; of the binary logarithm of the factor (ADA, appendix B)."""


class Augmentation(NamedTuple):
    """One draw of transforms for each of n clips.

    Attributes:
        shift: [n, 2] down and right, as a share of height and width.
        brightness: [n] to add.
        contrast, saturation: [n] factors of the distance from mid-grey and from the pixel's own grey.
    """

    shift: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor

    @classmethod
    def draw(cls, rng: np.random.Generator, clips: int, probability: float) -> Augmentation:
        """Each transform happens to each clip with `probability`."""
        happens = rng.random((4, clips)) < probability
        shift = rng.uniform(-MOST_SHIFT, MOST_SHIFT, (clips, 2)) * happens[0][:, None]
        brightness = rng.normal(0, BRIGHTNESS, clips) * happens[1]
        contrast = 2 ** (rng.normal(0, CONTRAST, clips) * happens[2])
        saturation = 2 ** (rng.normal(0, SATURATION, clips) * happens[3])
        return cls(*(torch.from_numpy(draws.astype(np.float32)) for draws in (shift, brightness, contrast, saturation)))

    def part(self, clips: slice) -> Augmentation:
        """The transforms of some of the clips."""
        return Augmentation(*(draws[clips] for draws in self))

    def __call__(self, clips_NCTHW: Tensor) -> Tensor:
        """Transformed clips, of the same shape and dtype, differentiable; what is shifted in repeats the border."""
        x = clips_NCTHW.to(torch.promote_types(clips_NCTHW.dtype, torch.float32))
        for axis, shares in ((3, self.shift[:, 0]), (4, self.shift[:, 1])):
            extent = x.shape[axis]
            steps = (shares * extent).round().long()
            places = (torch.arange(extent, device=x.device) - steps.unsqueeze(1)).clamp(0, extent - 1)  # n, extent
            shape = [len(x), *(extent if dim == axis else 1 for dim in range(1, 5))]
            x = x.gather(axis, places.view(shape).expand_as(x))
        brightness, contrast, saturation = (values.view(-1, 1, 1, 1, 1) for values in (self.brightness, self.contrast, self.saturation))
        if x.shape[1] == 3:
            grey = x.mean(dim=1, keepdim=True)
            x = grey + (x - grey) * saturation
        return (x * contrast + brightness).to(clips_NCTHW.dtype)

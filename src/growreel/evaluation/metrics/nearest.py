"""Does a model give back its training clips? Distances to the nearest one, held against those of clips it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from growreel.errors import GrowreelError
from growreel.evaluation.metrics.manifold import one_row_per_clip, squared_distances
from growreel.evaluation.metrics.rows import Counts, check_dimensions, check_rows, chunks


@dataclass(frozen=True)
class Neighbours:
    """For each of n clips its nearest training clip: `distance` [n] (Euclidean), `clip` [n], and whether it was nearer `mirrored` [n]."""

    distance: NDArray[np.float64]
    clip: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def nearest_training_clips(
    rows: NDArray[Any],
    training: NDArray[Any],
    mirrored: NDArray[Any],
    groups: NDArray[np.int64] | None = None,
    training_groups: NDArray[np.int64] | None = None,
) -> Neighbours:
    """The nearest of the training clips and of their mirror images, which a model trained with mirroring has seen as well.

    Args:
        rows, training, mirrored: features [n, d] or of frames [n, t, d], the last two of the same clips.
        groups, training_groups: clips of the same group are passed over, for looking up training clips among the others.
    """
    check_dimensions(rows, training)
    check_dimensions(training, mirrored)
    for name, each in (("clips", rows), ("training clips", training), ("mirrored training clips", mirrored)):
        check_rows(name, each)
    looked_up = [one_row_per_clip(each) for each in (training, mirrored)]
    distances, clips, flipped = [], [], []
    start = 0
    for part in chunks(one_row_per_clip(rows), len(training)):
        both = np.stack([squared_distances(part, each) for each in looked_up])  # 2 part training
        if groups is not None and training_groups is not None:
            both[:, groups[start : start + len(part), None] == training_groups[None]] = np.inf
        start += len(part)
        best = both.min(axis=0)
        clip = best.argmin(axis=1)
        each = np.arange(len(part))
        distances.append(np.sqrt(best[each, clip]))
        clips.append(clip)
        flipped.append(both[1, each, clip] < both[0, each, clip])
    return Neighbours(np.concatenate(distances), np.concatenate(clips), np.concatenate(flipped))


class Memory:
    """How near generated clips lie to the training clips, against clips that were not learnt.

    * `memorised`: the probability that a fake is nearer to its nearest training clip than an unseen clip is to its own (the U statistic
      of Mann and Whitney, as in the data-copying test of Meehan et al. 2020, arXiv 2004.05675): 0.5 is as far away as unseen clips,
      1 is nearer than all of them. Fakes that look like nothing real are far from everything and come out low, so read it beside
      a metric of quality;
    * `near_copies`: share of fakes nearer than 19 of 20 unseen clips are; 0.05 is what chance gives of independent clips, more
      (0.12 to 0.15 on Weizmann) where they come from few videos;
    * `distance`, `distance_of_unseen`: medians.
    """

    def __init__(self, fake: Neighbours, unseen: Neighbours) -> None:
        """Raises GrowreelError if a distance is not finite, which is the case where unseen clips have no other group to be near to."""
        for name, neighbours in (("fake", fake), ("unseen", unseen)):
            check_rows(name, neighbours.distance)
        self._fake, self._unseen = fake.distance, unseen.distance

    def __call__(self, unseen_counts: Counts | None = None, fake_counts: Counts | None = None) -> dict[str, float]:
        """The nearest training clips stay; both kinds of clips that look for one are weighted."""
        fake = self._fake if fake_counts is None else self._fake.repeat(fake_counts)
        unseen = np.sort(self._unseen if unseen_counts is None else self._unseen.repeat(unseen_counts))
        below, upto = np.searchsorted(unseen, fake, side="left"), np.searchsorted(unseen, fake, side="right")
        return {
            "memorised": float(1 - (below + upto).mean() / 2 / len(unseen)),  # ties count half
            "near_copies": float((fake < np.quantile(unseen, 0.05)).mean()),
            "distance": float(np.median(fake)),
            "distance_of_unseen": float(np.median(unseen)),
        }


def unseen_neighbours(
    training: NDArray[Any], mirrored: NDArray[Any], groups: NDArray[np.int64], held_out: NDArray[Any] | None = None
) -> Neighbours:
    """Nearest training clips of clips held out or, without any, of each training clip among those of other groups.

    Raises GrowreelError if there are no held-out clips and all training clips are one group.
    """
    if held_out is not None:
        return nearest_training_clips(held_out, training, mirrored)
    if len(np.unique(groups)) < 2:
        raise GrowreelError(
            "all training clips come from one video, so none can stand for an unseen one; give clips that were not learnt with --real and "
            "the training clips with --training"
        )
    return nearest_training_clips(training, training, mirrored, groups, groups)

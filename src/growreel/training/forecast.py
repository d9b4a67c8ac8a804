"""How much time a run still needs, when every stage costs another amount per clip."""

from __future__ import annotations

from growreel.models import Discriminator, Generator


class Forecast:
    """Seconds left, from the speed just measured and the arithmetic that each stage takes.

    A clip at a stage costs, for every active block, its weights times the voxels that they are applied to. Small stages are slower
    than that (their time goes into launching kernels), so the first estimates of a run are too long rather than too short.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        self.plan = generator.plan
        costs, total = [], 0
        for i, size in enumerate(self.plan.sizes):
            blocks = [n.blocks[str(size)] for n in (generator, discriminator)] if i else [generator.first, discriminator.last]
            total += size.voxels * sum(p.numel() for block in blocks for p in block.parameters())
            costs.append(total)
        self.costs = costs
        self.seconds_per_cost: float | None = None

    def measured(self, stage: int, clips: int, seconds: float) -> None:
        """Tell how long the latest `clips` at a stage took; the newest measurements count most."""
        new = seconds / (clips * self.costs[stage])
        self.seconds_per_cost = new if self.seconds_per_cost is None else 0.9 * self.seconds_per_cost + 0.1 * new

    def entered(self) -> None:
        """Forget the speed: it belongs to another stage."""
        self.seconds_per_cost = None

    def seconds_left(self, clips_shown: int, total: int) -> float | None:
        """Seconds from `clips_shown` to `total`; None before anything was measured."""
        if self.seconds_per_cost is None:
            return None
        cost = 0
        for i in range(len(self.plan.stages)):
            last = i == len(self.plan.stages) - 1
            end = total if last else min(total, self.plan.start(i + 1))
            cost += self.costs[i] * max(0, end - max(clips_shown, self.plan.start(i)))
        return cost * self.seconds_per_cost

"""What the options of studies/quality.py cost: seconds of a training step at 16x16x16, beside the `wgan-gp` that they start from.

    python studies/quality_cost.py

All variants in turns on one thread in one process, five rounds; prints the median ratio to `wgan-gp` of the same round, and its spread.
`subsample` and `ema-0.997` take the same step as `wgan-gp`.
"""

from __future__ import annotations

import statistics

import torch
from quality import OPTIONS, config_of

from growreel.bench.report import markdown_rows
from growreel.bench.workload import StageWorkload
from growreel.config import to_dict
from growreel.runtime.precision_choice import resolve_precision

REFERENCE, ROUNDS, STEPS = "wgan-gp", 5, 4
VARIANTS = (REFERENCE, "swgan-slope", "penalty-interval-4", *(name for name in OPTIONS if name not in ("subsample", "ema-0.997")))


def workload(variant: str) -> StageWorkload:
    tree = to_dict(config_of(variant, seed=0))
    tree["network"]["image_channels"] = 3
    tree["training"]["precision"] = resolve_precision(tree["training"]["precision"], torch.device("cpu"))
    return StageWorkload(tree, stage=len(tree["growth"]["stages"]) - 1, device="cpu")


def main() -> None:
    torch.set_num_threads(1)
    workloads = {variant: workload(variant) for variant in VARIANTS}
    rounds = [{name: each.train(fading=False, steps=STEPS) for name, each in workloads.items()} for _ in range(ROUNDS + 1)][1:]
    rows: list[tuple[str, ...]] = [("", f"step, {REFERENCE} = 1", "least", "most")]
    for name in VARIANTS[1:]:
        ratios = [times[name] / times[REFERENCE] for times in rounds]
        rows.append((name, f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}"))
    print("\n".join(markdown_rows(rows)))


if __name__ == "__main__":
    main()

"""Does every stage of a plan train on this machine? A few steps each, through all fades, up to the last size.

    growreel prepare TrailerFaces STORE --size 32x256x256 --tiles 7x4
    python studies/ladder.py STORE --preset trailerfaces-256 --out runs/ladder

Writes OUT/ladder.md: per stage the losses, how much samples of fixed latents changed (levels of 256, mean), memory and speed. Fails if a
loss is not finite or samples do not change. Networks and minibatches are the preset's own, the learning rate too; only the lengths
differ, so this shows that the ladder holds, not what comes out at its end.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np

from growreel.bench.report import markdown_rows
from growreel.config import StageConfig, load_preset
from growreel.models.files import load_generator
from growreel.sampling import generate, write_samples
from growreel.training.loop import train
from growreel.training.stats import read_lines

SEEDS = range(4)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--preset", default="trailerfaces-256")
    parser.add_argument("--steps", type=int, default=4, help="in every fade and every stable phase")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = load_preset(options.preset)
    plan = config.growth.plan()
    stages = tuple(
        StageConfig(str(stage.size), options.steps * stage.minibatch if k else 0, options.steps * stage.minibatch, stage.minibatch)
        for k, stage in enumerate(plan.stages)
    )
    least = min(stage.minibatch for stage in plan.stages)
    every = {
        "stats_interval": least,
        "checkpoint_interval": options.steps * least,
        "sample_interval": 10**9,
        "keep_checkpoints": 1,
        "report": False,
    }
    config = dataclasses.replace(
        config,
        growth=dataclasses.replace(config.growth, stages=stages),
        training=dataclasses.replace(config.training, sample_count=4, ema_decay=0.5, report=False, **every),
    )
    result = train(options.store, options.out / "run", config)
    if result.signal:
        raise SystemExit(128 + result.signal)
    lines = [line for line in read_lines(options.out / "run" / "stats.jsonl") if "loss_generator" in line]
    models = [load_generator(path) for path in sorted((options.out / "run" / "models").glob("*.safetensors"))]
    rows: list[tuple[str, ...]] = [
        ("stage", "minibatch", "steps", "loss D", "loss G", "gradient penalty", "samples changed", "peak memory", "clips/s")
    ]
    for stage in stages:
        here = [line for line in lines if line["stage"] == stage.size]
        clips = [generate(model, SEEDS).astype(np.float32) for model in models if str(model.size) == stage.size]
        losses = [line[name] for line in here for name in ("loss_discriminator", "loss_generator")]
        assert losses and all(map(math.isfinite, losses)), f"{stage.size}: losses {losses}"
        changed = float(np.abs(clips[-1] - clips[0]).mean())
        assert changed > 0, f"{stage.size}: samples do not change"
        write_samples(options.out / f"{stage.size}.png", clips[-1].astype(np.uint8)[:, :: max(1, clips[-1].shape[1] // 8)], SEEDS, fps=8)
        last = here[-1]
        ranges = [
            f"{min(line[n] for line in here):.3g} to {max(line[n] for line in here):.3g}" for n in ("loss_discriminator", "loss_generator")
        ]
        penalty = max(line["gradient_penalty"] for line in here)
        speed = f"{np.median([line['clips_per_second'] for line in here]):.3g}"
        rows.append(
            (
                stage.size,
                str(stage.minibatch),
                str(len(here)),
                *ranges,
                f"up to {penalty:.3g}",
                f"{changed:.2f}",
                f"{last['peak_memory_bytes'] / 1e9:.2f} GB",
                speed,
            )
        )
    page = "\n".join([*markdown_rows(rows), ""])
    (options.out / "ladder.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()

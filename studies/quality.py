"""Which loss, which order of growth, which second penalty? The same small networks on the same clips, several seeds each.

    growreel prepare weizmann STORE --size 16x64x64 --labels
    python studies/quality.py STORE --out runs/quality --seeds 0 1 2 --jobs 2
    python studies/quality.py STORE --out runs/quality --only wgan-gp swgan-none
    python studies/quality.py STORE --out runs/quality --device cuda --jobs 12     # side by side on a card, measured on the CPU

Every run shows 48,000 clips, ends at 16x16x16 (those named after it: at 16x32x32) and is measured there. Finished runs are not repeated,
unfinished ones go on. studies/quality_report.py makes the tables and pictures of docs/study.md.

The gradient penalty is meant for the run's last size; for 32x256x256, the paper's, in the variants that begin with `full-`; and taken at
each stage's own size in those that begin with `stage-`, as this project had it by mistake at first.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from growreel.config import Config, from_dict
from growreel.data.store import ClipStore
from growreel.evaluation.evaluate import evaluate
from growreel.evaluation.options import EvaluationOptions
from growreel.training.loop import train

METRICS = ("swd", "swd3d", "motion", "kid", "prdc", "memory")
LAST_STAGE = {"fade_clips": 3_000, "stable_clips": 15_000, "final_learning_rate": 0.0005}
CLIPS_BEFORE = 30_000

BASE: dict[str, Any] = {
    "growth": {"minibatch": 8, "learning_rate": 0.005},
    "network": {"max_channels": 16, "latent_dim": 64, "feature_dim": 64},
    "optimizer": {"reset": "stage"},
    "training": {
        "ema_decay": 0.99,
        "precision": "bfloat16",
        "stats_interval": 1_000,
        "sample_interval": 12_000,
        "checkpoint_interval": 6_000,
        "keep_checkpoints": 1,
        "report": False,  # the runs are timed
    },
}


def grown(*sizes: str, times: int = 1, **last_stage: Any) -> dict[str, Any]:
    """A plan that shows CLIPS_BEFORE clips before the last size, in equal shares, a quarter of each share fading in; all of it `times`."""
    share = times * CLIPS_BEFORE // (len(sizes) - 1)
    first, *between, last = sizes
    last_clips = {name: times * LAST_STAGE[name] for name in ("fade_clips", "stable_clips")}
    stages = [{"size": first, "stable_clips": share}]
    stages += [{"size": size, "fade_clips": share // 4, "stable_clips": share - share // 4} for size in between]
    return {"growth": {"stages": [*stages, {**LAST_STAGE, **last_clips, "size": last, **last_stage}]}}


def loss(name: str, **settings: Any) -> dict[str, Any]:
    return {"loss": {"name": name, name.replace("-", "_"): settings}}


PAPER_BEGINNING = ("4x4x4", "8x8x8", "8x16x16")
PAPER_ORDER = grown(*PAPER_BEGINNING, "16x16x16")
LOSS_FORMS = {
    "swgan-released": loss("swgan", feature_penalty="released"),
    "swgan-slope": loss("swgan", feature_penalty="slope"),
    "swgan-none": loss("swgan", feature_penalty="none"),
    "wgan-gp": loss("wgan-gp"),
}
FULL = {"loss": {"penalty_reference": "32x256x256"}}
STAGE = {"loss": {"penalty_reference": "stage"}}
PAPER_RATE = {"growth": {"learning_rate": 0.001}}
LOSSES: dict[str, Sequence[dict[str, Any]]] = {
    **{name: (PAPER_ORDER, form) for name, form in LOSS_FORMS.items()},
    **{f"full-{name}": (PAPER_ORDER, form, FULL) for name, form in LOSS_FORMS.items()},
    **{f"stage-{name}": (PAPER_ORDER, form, STAGE) for name, form in LOSS_FORMS.items()},
}
RATES: dict[str, Sequence[dict[str, Any]]] = {
    f"rate-0.001-{name}": (*LOSSES[name], PAPER_RATE)
    for name in ("swgan-released", "full-swgan-released", "full-swgan-slope", "wgan-gp", "full-wgan-gp")
}
"""The paper's rate, with the penalty as the paper means it too."""
LONG = grown(*PAPER_BEGINNING, "16x16x16", times=4, final_learning_rate=0.0001)
RATES |= {f"long-rate-0.001-{name}": (*LOSSES[name], PAPER_RATE, LONG) for name in ("full-swgan-released", "full-wgan-gp", "wgan-gp")}
"""The released combination has more clips as well: here four times as many, 192,000."""
ORDERS: dict[str, Sequence[dict[str, Any]]] = {
    "order-joint": (grown("4x4x4", "8x8x8", "16x16x16"),),
    "order-space": (grown("4x4x4", "4x8x8", "4x16x16", "8x16x16", "16x16x16"),),
    "order-time": (grown("4x4x4", "8x4x4", "16x4x4", "16x8x8", "16x16x16"),),
    "order-none": ({"growth": {"stages": [{**LAST_STAGE, "size": "16x16x16", "fade_clips": 0, "stable_clips": 48_000}]}},),
}
WGAN_GP = LOSSES["wgan-gp"]
WIDER = {"network": {"max_channels": 32}}
LONGER_AVERAGE = {"training": {"ema_decay": 0.997}}
OPTIONS: dict[str, Sequence[dict[str, Any]]] = {
    "swgan-matrices-4": (PAPER_ORDER, loss("swgan", feature_penalty="slope", matrices=4)),
    "relativistic": (PAPER_ORDER, loss("relativistic")),
    "san": (PAPER_ORDER, loss("san")),
    "ema-0.997": (*WGAN_GP, LONGER_AVERAGE),
    "wider": (*WGAN_GP, WIDER),
    "augment": (*WGAN_GP, {"training": {"augment_probability": 0.3}}),
    "subsample": (*WGAN_GP, {"growth": {"time_reduction": "subsample"}}),
    "constant-rate": (*WGAN_GP, grown(*PAPER_BEGINNING, "16x16x16", final_learning_rate=None)),
    "best": (*WGAN_GP, WIDER, LONGER_AVERAGE),
    "smooth": (*WGAN_GP, {"network": {"resampling": "smooth"}}),
    "precision-float32": (PAPER_ORDER, {"training": {"precision": "float32"}}),
    "penalty-interval-4": (PAPER_ORDER, {"loss": {"penalty_interval": 4}}),
}
"""What later work suggests, one change at a time from the loss that did best."""

LARGER_SIZE = grown(*PAPER_BEGINNING, "16x32x32")
LARGER: dict[str, Sequence[dict[str, Any]]] = {
    **{f"16x32x32-{name}": (LARGER_SIZE, form) for name, form in LOSS_FORMS.items()},
    **{f"16x32x32-full-{name}": (LARGER_SIZE, form, FULL) for name, form in LOSS_FORMS.items()},
}
"""Does what was found hold at four times the voxels?"""
LARGER_BEST = (LARGER_SIZE, loss("wgan-gp"), WIDER, LONGER_AVERAGE)
SKIPS = {"network": {"skips": True}}
MODULATED = {"network": {"generator": "modulated", "planes": "curved", "time_padding": "replicate"}}
FROM_SHAPES: dict[str, Sequence[dict[str, Any]]] = {
    "16x32x32-best": LARGER_BEST,
    "16x32x32-best-skips": (*LARGER_BEST, SKIPS),
    "16x32x32-best-modulated": (*LARGER_BEST, MODULATED),
    "16x32x32-best-modulated-skips": (*LARGER_BEST, MODULATED, SKIPS),
}
"""Does what made procedural shapes clearer (docs/log.md, 2026-11-27 and 28) help here too?"""
VARIANTS = LOSSES | RATES | ORDERS | OPTIONS | LARGER | FROM_SHAPES


def merged(*trees: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts, later ones over earlier ones."""
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            old = result.get(key)
            result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else copy.deepcopy(value)
    return result


def config_of(variant: str, seed: int, device: str = "cpu") -> Config:
    return from_dict(merged(BASE, *VARIANTS[variant], {"training": {"seed": seed, "device": device}}), f"variant {variant}")


def run_one(store: Path, run: Path, variant: str, seed: int, threads: int, device: str) -> None:
    """Train and measure one run, or what is missing of it."""
    torch.set_num_threads(threads)
    if (run / "card.json").exists():
        return
    result = train(store, run, config_of(variant, seed, device), progress=False)
    if result.signal:
        raise SystemExit(128 + result.signal)
    with ClipStore.open(store) as opened:
        count = len(opened)
    options = EvaluationOptions(metrics=METRICS, features="pixels", clips=count, repeats=2, resamples=0, device="cpu")
    evaluate(run, store, options).save(run / "card.json")
    print(f"{variant} seed {seed}: done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="variants to run; default: all")
    parser.add_argument("--device", default="cpu", help="to train on")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the cores")
    options = parser.parse_args()
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:

        def stop(number: int, frame: FrameType | None) -> None:
            """Runs save and leave, and later ones are not begun."""
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()

        signal.signal(signal.SIGTERM, stop)
        runs = [
            pool.submit(run_one, options.store, options.out / f"{variant}-{seed}", variant, seed, threads, options.device)
            for seed in options.seeds  # outer: after one seed there is something of everything
            for variant in options.only
        ]
        for run in runs:
            run.result()


if __name__ == "__main__":
    main()

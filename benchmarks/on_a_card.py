"""Everything that only a graphics card can tell, in one command of a few minutes: is it right, how fast is it, what fits.

    PYTHONPATH=src python benchmarks/on_a_card.py --out FOLDER                        # all of it
    PYTHONPATH=src python benchmarks/on_a_card.py --out FOLDER --only checks          # checks, speed or sampling alone
    PYTHONPATH=src python benchmarks/on_a_card.py --out FOLDER --device cpu --small   # its way through, without a card

Needs the checkout, PyTorch, numpy, PyYAML and safetensors. Writes `on_a_card.json` and `on_a_card.md`; leaves with 1 if a check failed.

Checks: the version of cuDNN against those that are known to compute wrong; one convolution in each precision against float64; gradients of
every loss through a stage, a fade and a growth, in float64 against the CPU's, and recorded steps against plain ones; two processes on the
card against one; the golden run (golden.py).
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import golden
import torch
from torch import Tensor

import growreel
from growreel.bench.machine import Yardsticks, describe_machine, synchronize
from growreel.bench.report import markdown_rows
from growreel.bench.workload import StageWorkload
from growreel.config import Config, TrainingConfig, from_dict, load_preset, to_dict
from growreel.growth import Position
from growreel.runtime.convolution_check import ConvolutionShape, check_convolution, cudnn_version, known_faults
from growreel.runtime.precision import Arithmetic
from growreel.training.checkpoint import list_checkpoints
from growreel.training.execution import Execution
from growreel.training.loop import train
from growreel.training.state import TrainingState
from growreel.training.step import discriminator_step, generator_step

SOURCE = Path(growreel.__file__).parents[1]
LOSSES = ("swgan", "wgan-gp", "relativistic", "san")
SMALL = (ConvolutionShape(2, 8, 4, 8, 8),)
PRECISIONS: tuple[Arithmetic, ...] = ("float32", "tf32", "bfloat16")
WAYS = (
    ("float32", "plain"),
    ("float32", "recorded"),
    ("tf32", "recorded"),
    ("bfloat16", "recorded"),
    ("bfloat16, penalty in tf32", "plain"),
    ("bfloat16, penalty in tf32", "recorded"),
)
SECONDS_EACH = 0.4
"""That one measurement of speed lasts."""


def tiny(**changes: Any) -> Config:
    """The configuration of the golden run in float32, with changes named section__field."""
    tree = to_dict(golden.golden_config(precision="float32", sample_interval=40, checkpoint_interval=40, sample_count=2))
    tree["network"]["image_channels"] = 3
    for path, value in changes.items():
        section, name = path.split("__")
        tree[section][name] = value
    return from_dict(tree, "on_a_card")


def training_of(config: Config, precision: str) -> TrainingConfig:
    """The settings of training with the precision of one of WAYS."""
    changes: dict[str, dict[str, Any]] = {
        "float32": {"precision": "float32"},
        "tf32": {"precision": "tf32"},
        "bfloat16": {"precision": "bfloat16"},
        "bfloat16, penalty in tf32": {"precision": "bfloat16", "penalty_precision": "tf32"},
    }
    return dataclasses.replace(config.training, **changes[precision])


def relative(ours: Tensor, exact: Tensor) -> float:
    ours, exact = ours.double().cpu(), exact.double().cpu()
    return float((ours - exact).norm() / exact.norm().clamp_min(1e-300))


def versions(device: torch.device) -> dict[str, Any]:
    """Facts, and the known faults of the cuDNN at hand."""
    found: dict[str, Any] = {**describe_machine(device), "cuda": torch.version.cuda}
    if device.type == "cuda":
        version = cudnn_version()
        found["cudnn"] = ".".join(map(str, version or ()))
        found["known faults of this cuDNN"] = [fault.what for fault in known_faults(version)]
        found["memory"] = f"{torch.cuda.get_device_properties(device).total_memory / 2**30:.0f} GiB"
    return found


def convolutions(device: torch.device, shapes: Sequence[ConvolutionShape] | None = None) -> dict[str, dict[str, Any]]:
    """What `precision: auto` looks at: errors against float64 and rates of a convolution with its two gradients, by precision."""
    return {
        finding.precision: {
            "errors": finding.errors,
            "tflops": finding.operations / finding.seconds / 1e12,
            "passed": finding.refusal is None,
            "finding": str(finding),
        }
        for finding in check_convolution(device, PRECISIONS, shapes)
    }


def seconds_each(work: Callable[[], Any], device: torch.device, seconds: float = SECONDS_EACH) -> float:
    """Seconds a call, after three that warm up."""
    for _ in range(3):
        work()
    synchronize(device)
    calls, started = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - started < seconds:
        work()
        calls += 1
        if calls % 8 == 0:
            synchronize(device)
    synchronize(device)
    return (time.perf_counter() - started) / calls


def trained(config: Config, device: torch.device, steps: int = 2) -> Tensor:
    """How all weights changed in steps of both networks at the first stage, in a fade, and in the stable phase after it.

    They begin as those of a float64 run, whatever the precision.
    """
    state, execution = TrainingState(config, device), Execution(config.training, device)
    wide = dataclasses.replace(config, training=dataclasses.replace(config.training, precision="float64"))
    for name, module in TrainingState(wide, torch.device("cpu")).modules().items():
        state.modules()[name].load_state_dict(module.state_dict())
    before = _weights(state)
    rng = torch.Generator().manual_seed(1)
    for position in (Position(0, "stable", 1.0), Position(1, "fade", 0.3), Position(1, "fade", 0.6), Position(1, "stable", 1.0)):
        size = state.plan.sizes[position.stage]
        state.prepare_optimizers(position)
        for _ in range(steps):
            real = (torch.rand(8, *size, 3, generator=rng) * 2 - 1).to(device, state.dtype).movedim(-1, 1)
            for step in (discriminator_step, generator_step):
                step(state, real, position, 8, config, execution)
            state.clips_shown += 8
    return _weights(state) - before


def _weights(state: TrainingState) -> Tensor:
    """All of them in a row, on the CPU."""
    return torch.cat([t.double().flatten().cpu() for module in state.modules().values() for t in module.state_dict().values()])


def gradients(device: torch.device, loss: str) -> dict[str, Any]:
    """Some steps of training on the device against the CPU's, in float64; recorded against plain, in float64 and float32."""
    shared = {"growth__minibatch": 8, "loss__name": loss, "training__augment_probability": 0.5}
    cpu = torch.device("cpu")

    def weights(where: torch.device, precision: str, graphs: bool) -> Tensor:
        config = tiny(**shared, training__precision=precision, training__cuda_graphs=graphs)
        # Adam's usual eps of 1e-8 takes whole steps along gradients that are mere rounding.
        config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, eps=1e-2))
        return trained(config, where)

    exact = weights(cpu, "float64", False)
    errors = {
        "plain, float64": relative(weights(device, "float64", False), exact),
        "recorded, float64": relative(weights(device, "float64", True), exact),
        "recorded, float32": relative(weights(device, "float32", True), exact),
    }
    return {"errors": errors, "passed": max(list(errors.values())[:2]) < 1e-9 and errors["recorded, float32"] < 1e-3}


def golden_run(device: torch.device, store: Path, folder: Path) -> dict[str, Any]:
    """The golden run of the tests, in float64."""
    found = golden.golden_losses(store, folder / "golden", golden.golden_config(device=str(device)))
    worst = golden.largest_difference(found)
    return {"losses": found, "errors": {"worst": worst}, "passed": worst < golden.TOLERANCE}


def two_processes(device: torch.device, store: Path, folder: Path) -> dict[str, Any]:
    """Two processes of half a minibatch each against one of the whole, through a growth and a fade."""
    shared = {"growth__minibatch": 8, "training__device": device.type, "training__clips": 96}
    config = tiny(**shared)
    config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, eps=1e-2))
    (folder / "two.json").write_text(json.dumps(to_dict(config)))
    train(store, folder / "one", config, progress=False)
    script = (
        "import json, sys; from growreel.config import from_dict; from growreel.training.loop import train\n"
        "train(sys.argv[1], sys.argv[2], from_dict(json.load(open(sys.argv[3])), 'two'), progress=False)"
    )
    (folder / "two.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(folder / "two.py")]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    arguments = [str(store), str(folder / "two"), str(folder / "two.json")]
    done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, env=environment, timeout=240)
    if done.returncode:
        return {"errors": {}, "passed": False, "output": done.stderr[-20_000:]}
    one, two = (torch.load(list_checkpoints(folder / name)[-1] / "state.pt", weights_only=True) for name in ("one", "two"))
    errors = {
        name: relative(torch.cat([t.flatten() for t in two[name].values()]), torch.cat([t.flatten() for t in one[name].values()]))
        for name in ("generator", "discriminator", "loss", "ema")
    }
    return {"errors": errors, "passed": max(errors.values()) < 1e-4}


def speed(device: torch.device, config: Config, stage: int, chosen: Sequence[str], compile_too: bool) -> dict[str, Any]:
    """Clips a second of training and peak memory at a stage, in each way of doing it."""
    result: dict[str, Any] = {}
    for precision, way in (*WAYS, *((("bfloat16, penalty in tf32", "compiled and recorded"),) if compile_too else ())):
        if f"{precision}, {way}" not in chosen and way != "compiled and recorded":
            continue
        training = dataclasses.replace(training_of(config, precision), cuda_graphs=way != "plain")
        if "compiled" in way:
            training = dataclasses.replace(training, compile="auto")
        found = measured(device, dataclasses.replace(config, training=training), stage)
        result[f"{precision}, {way}"] = found
        print(f"  {config.growth.plan().sizes[stage]} {precision}, {way}: {found}", flush=True)
    return result


def measured(device: torch.device, config: Config, stage: int) -> dict[str, Any]:
    """Of one way. Lack of memory is a result, too."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    try:
        workload = StageWorkload(to_dict(config), stage, str(device))
        workload.train(False, 4)
        prepared = time.perf_counter() - started
        step = seconds_each(lambda: workload.train(False, 1), device)
        return {
            "clips_per_second": workload.minibatch / step,
            "peak_gb": (workload.memory()["peak"] - workload.memory_at_start) / 1e9,
            "first_seconds": prepared,
        }
    except torch.OutOfMemoryError as error:
        return {"failed": str(error).splitlines()[0]}


def sampling(device: torch.device, config: Config, stage: int) -> dict[str, Any]:
    """Clips generated a second, from latents to bytes on the host."""
    result: dict[str, Any] = {}
    for precision in PRECISIONS if device.type == "cuda" else ("float32", "bfloat16"):
        workload = StageWorkload(to_dict(dataclasses.replace(config, training=training_of(config, precision))), stage, str(device))
        result[precision] = workload.batch() / seconds_each(lambda: workload.sample(1), device)  # noqa: B023 - called at once
    return result


def _speed_cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    return str(found["failed"])[:20] if "failed" in found else f"{found['clips_per_second']:,.0f} ({found['peak_gb']:.2f} GB)"


def table(report: dict[str, Any], config: Config) -> str:
    """Markdown of the whole."""
    lines = [", ".join(f"{name} {value}" for name, value in report["versions"].items()), ""]
    checks = [("check", "passed", "errors")]
    for name, check in report.get("checks", {}).items():
        errors = check.get("errors", {})
        pairs = errors.items() if isinstance(errors, dict) else enumerate(errors)
        checks.append((name, "yes" if check["passed"] else "NO", ", ".join(f"{key} {value:.1e}" for key, value in pairs)))
    if len(checks) > 1:
        lines += [*markdown_rows(checks), ""]
    if report.get("speed"):
        stages = [stage for stage in config.growth.plan().stages if str(stage.size) in report["speed"]]
        ways = list({way: None for found in report["speed"].values() for way in found})
        rows = [("stage", "minibatch", *ways)]
        rows += [(str(s.size), str(s.minibatch), *(_speed_cell(report["speed"][str(s.size)].get(way)) for way in ways)) for s in stages]
        lines += ["Training, clips a second (peak memory of tensors):", "", *markdown_rows(rows), ""]
        for way in ways:
            rates = [report["speed"][str(stage.size)].get(way, {}).get("clips_per_second", math.nan) for stage in stages]
            hours = sum((stage.fade_clips + stage.stable_clips) / rate / 3600 for stage, rate in zip(stages, rates, strict=True))
            lines.append(f"- {way}: {hours:,.1f} hours for the clips of these stages (fades counted as the rest)")
        lines.append("")
    if report.get("sampling"):
        rows = [("stage", *next(iter(report["sampling"].values())))]
        rows += [(size, *(f"{rate:,.0f}" for rate in found.values())) for size, found in report["sampling"].items()]
        lines += ["Sampling, clips a second:", "", *markdown_rows(rows), ""]
    return "\n".join([*lines, f"{report['seconds']:.0f} seconds in all"])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for on_a_card.json and .md")
    parser.add_argument("--only", nargs="+", choices=["checks", "speed", "sampling"], default=["checks", "speed", "sampling"])
    parser.add_argument("--preset", default="paper", help="whose stages are timed")
    parser.add_argument("--device", default="cuda")
    ways = [f"{precision}, {way}" for precision, way in WAYS]
    parser.add_argument("--ways", nargs="*", choices=ways, default=ways, help="precision and way of training to time")
    parser.add_argument("--sizes", nargs="*", default=None, help="stages to time; default: all")
    parser.add_argument("--compile-stages", nargs="*", default=["8x16x16", "16x64x64"], help="stages that are also timed compiled")
    parser.add_argument("--small", action="store_true", help="tiny networks instead of the preset's")
    options = parser.parse_args()
    device, started = torch.device(options.device), time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    config = tiny() if options.small else load_preset(options.preset)
    config = dataclasses.replace(config, network=dataclasses.replace(config.network, image_channels=3))
    report: dict[str, Any] = {"versions": versions(device), "seconds": 0.0}

    def save() -> None:
        """After each part, so that a run that is cut off leaves what it found."""
        report["seconds"] = time.perf_counter() - started
        (options.out / "on_a_card.json").write_text(json.dumps(report, indent=1) + "\n")
        (options.out / "on_a_card.md").write_text(table(report, config) + "\n")

    if "checks" in options.only:
        checks = report["checks"] = dict[str, Any]()
        for name, check in convolutions(device, SMALL if options.small else None).items():
            checks[f"convolution, {name}"] = check
        for loss in LOSSES:
            checks[f"gradients, {loss}"] = gradients(device, loss)
            print(loss, checks[f"gradients, {loss}"], flush=True)
        with tempfile.TemporaryDirectory() as folder:
            store = golden.golden_store(Path(folder) / "store")
            checks["golden run"] = golden_run(device, store, Path(folder))
            checks["two processes"] = two_processes(device, store, Path(folder))
        save()
    stages = [(k, size) for k, size in enumerate(config.growth.plan().sizes) if options.sizes is None or str(size) in options.sizes]
    yardsticks = Yardsticks(device, torch.float32 if device.type == "cpu" else torch.bfloat16)
    report["versions"] |= {"matrix TFLOP/s": round(yardsticks.matrix_rate() / 1e12, 1), "copy GB/s": round(yardsticks.copy_rate() / 1e9)}
    del yardsticks
    if "sampling" in options.only:
        report["sampling"] = {str(size): sampling(device, config, stage) for stage, size in stages}
        save()
    if "speed" in options.only:
        report["speed"] = dict[str, Any]()
        for stage, size in stages:
            report["speed"][str(size)] = speed(device, config, stage, options.ways, str(size) in options.compile_stages)
            save()
    save()
    print(table(report, config))
    return 0 if all(check["passed"] for check in report.get("checks", {}).values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The report of one run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from growreel.config import Config, to_dict, to_yaml
from growreel.errors import GrowreelError
from growreel.models import build_discriminator, build_generator
from growreel.reading.folders import command_without_folders, last_part, without_folders
from growreel.report.cards import card_rows
from growreel.report.clips import SAMPLES, Made, Real, compare_with_real, film_strip, make
from growreel.report.curves import metric_charts, speed_charts, training_charts, weight_chart
from growreel.report.folder import Run, open_store
from growreel.report.page import render
from growreel.report.pictures import Picture, data_address, picture
from growreel.report.remarks import remarks
from growreel.report.words import count, plural, times
from growreel.training.summary import count_parameters

STRIP_ROWS, SAMPLE_ROWS = 128, 192
"""Rows of pixels that a clip of the film strip, and one of the samples, keeps at most."""
MOST_GRID_BYTES = 4 * 2**20
PAIRS = 8


def report_page(run: Run) -> str:
    """The page of a run, as HTML."""
    samples = make(run, max(run.models), SAMPLES) if run.models else None
    real, no_real = _real(run, samples)
    strip = film_strip(run) if run.models else []
    return render(
        "run.html",
        title=run.name,
        run=run,
        facts=facts(run),
        lede=_lede(run),
        plan=plan_bar(run),
        samples=_pictures(samples, "Sample", SAMPLE_ROWS),
        samples_at=samples.clips_shown if samples else None,
        newer_grid=_newer_grid(run, samples),
        real=[] if real is None or samples is None else _real_pictures(run, real, samples),
        no_real=no_real,
        strip=[(str(run.plan.sizes[k]), made and made.clips_shown, _pictures(made, "Sample", STRIP_ROWS)) for k, made in enumerate(strip)],
        strip_seeds=max((len(made.seeds) for made in strip if made), default=0),
        remarks=remarks(run, real),
        training_charts=training_charts([run]),
        metric_charts=metric_charts([run]),
        speed_charts=[chart for chart in (*speed_charts([run]), weight_chart(run)) if chart],
        pairs=[] if real is None or samples is None else _pairs(run, real, samples),
        looked_through=None if real is None else (real.looked_through, real.total),
        card=run.card,
        card_rows=card_rows([run.card]) if run.card else [],
        stages=_stage_table(run),
        command=started_with(run),
        again=_again(run),
        changed=changed_settings(run.config),
        yaml=to_yaml(run.config),
        environment=_environment(run),
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """The few figures that everyone asks for, with their names."""
    with torch.device("meta"):
        parameters = [count_parameters(build(run.config)) for build in (build_generator, build_discriminator)]
    found = [
        ("clip size now", times(run.size)),
        ("clips shown", count(run.clips_shown)),
        ("of plan", f"{min(1.0, run.clips_shown / run.total):.0%}"),
        ("generator", f"{count(parameters[0])} weights"),
        ("discriminator", f"{count(parameters[1])} weights"),
    ]
    if run.config.network.classes:
        found.append(("classes", ", ".join(run.config.network.classes)))
    return found


def _lede(run: Run) -> str:
    """What was trained on what, in a sentence."""
    store = run.environment.get("store")
    first, last = times(run.plan.sizes[0]), times(run.plan.sizes[-1])
    way = f"from {first} to {last} in {len(run.plan.stages)} stages" if first != last else f"at {last}"
    sentence = f"A video generator, grown {way} with the {run.config.loss.name} loss"
    if isinstance(store, dict):
        color = "colour" if store["channels"] == 3 else "grey"
        sources = f" cut from {plural(store['sources'], 'video')}" if store["sources"] > 1 else ""
        sentence += f", on {plural(store['clips'], f'{color} clip')} of {Path(store['path']).name}{sources}"
        sentence += f" ({times(store['size'])}, {store['fps']:g} frames a second)"
    return sentence + "."


def plan_bar(run: Run) -> list[tuple[str, float, float, str]]:
    """Of each stage its label, share of the plan, share of it that fades, and whether it is done, running or to come."""
    whole = max(run.total, run.plan.total_clips)
    now, bars = run.position.stage, []
    for k, stage in enumerate(run.plan.stages):
        length = stage.fade_clips + stage.stable_clips
        state = "done" if k < now or run.finished else "now" if k == now else "ahead"
        bars.append((str(stage.size), length / whole * 100, stage.fade_clips / length * 100, state))
    return bars


def _real(run: Run, samples: Made | None) -> tuple[Real | None, str]:
    """Real clips to hold the samples against, or the reason why there are none."""
    if samples is None:
        return None, "No model has been saved yet."
    try:
        with open_store(run) as store:
            return compare_with_real(run, samples, store), ""
    except GrowreelError as reason:
        return None, f"Real clips cannot be shown: {without_folders(str(reason))}."


def _pictures(made: Made | None, what: str, most_rows: int) -> list[Picture]:
    if made is None:
        return []
    size = times("x".join(map(str, made.clips.shape[1:4])))
    return [
        picture(
            clip,
            made.fps,
            f"{what} of seed {seed}, {size}, after {count(made.clips_shown)} clips",
            most_rows=most_rows,
            caption=str(seed),
            recipe=made.recipe.of_seeds((seed,)),
        )
        for clip, seed in zip(made.clips, made.seeds, strict=True)
    ]


def _real_pictures(run: Run, real: Real, samples: Made) -> list[Picture]:
    return [picture(clip, samples.fps, f"Real clip {k + 1}", most_rows=SAMPLE_ROWS) for k, clip in enumerate(real.clips)]


def _pairs(run: Run, real: Real, samples: Made) -> list[tuple[Picture, Picture, str]]:
    """Sample, its nearest training clip, and how near; the nearest pairs first."""
    order = range(len(samples.clips)) if real.closeness is None else real.closeness.argsort(kind="stable")
    pairs = []
    for k in list(order)[:PAIRS]:
        made = picture(samples.clips[k], samples.fps, f"Sample of seed {samples.seeds[k]}", most_rows=STRIP_ROWS)
        learnt = picture(real.nearest[k], samples.fps, f"Training clip {real.numbers[k]}", most_rows=STRIP_ROWS)
        words = f"seed {samples.seeds[k]}, clip {real.numbers[k]}"
        pairs.append((made, learnt, words if real.closeness is None else f"{real.closeness[k]:.2f} \N{MULTIPLICATION SIGN} usual; {words}"))
    return pairs


def _newer_grid(run: Run, samples: Made | None) -> tuple[int, str] | None:
    """The newest grid of training's own, where it is newer than the newest model."""
    newest = max(run.samples, default=0)
    if newest <= (samples.clips_shown if samples else -1) or run.samples[newest].stat().st_size > MOST_GRID_BYTES:
        return None
    return newest, data_address(run.samples[newest].read_bytes())


def _stage_table(run: Run) -> list[dict[str, Any]]:
    """What each stage took: the text beside the charts."""
    rows = []
    for k, stage in enumerate(run.plan.stages):
        lines = [line for line in run.intervals if line["stage"] == str(stage.size)]
        if not lines:
            continue
        speeds = sorted(line["clips_per_second"] for line in lines)
        rows.append(
            {
                "size": str(stage.size),
                "from": run.plan.start(k),
                "to": lines[-1]["clips"],
                "minibatch": stage.minibatch,
                "speed": speeds[len(speeds) // 2],
                "memory": max(line.get("peak_memory_bytes", 0) for line in lines),
                "lines": len(lines),
            }
        )
    return rows


def started_with(run: Run) -> str:
    """The command line that last worked on this run, without folders; nothing if it was started from Python."""
    command: Sequence[str] = run.environment.get("command", [])
    if "train" not in command:
        return ""
    words = ["growreel", *command_without_folders(list(command)[list(command).index("train") :])]
    processes = run.environment.get("processes", 1)
    if processes > 1:
        words = ["torchrun", "--nproc-per-node", str(processes), "-m", *words]
    return shlex.join(words)


def _again(run: Run) -> str:
    """A command that trains the same in a new folder beside the run: config.yaml has every setting, the seed too."""
    store = run.environment.get("store")
    where = last_part(str(store["path"])) if isinstance(store, dict) else "STORE"
    weights = [] if run.init_from is None else ["--init-from", run.init_from]
    return shlex.join(["growreel", "train", where, "--out", f"{run.name}-again", "--config", f"{run.name}/config.yaml", *weights])


def changed_settings(config: Config) -> list[tuple[str, Any, Any]]:
    """Name, value and default of every setting that is not at its default; the stages are shown elsewhere."""
    return [
        (name, value, default)
        for (name, value), (_, default) in zip(flat(to_dict(config)), flat(to_dict(Config())), strict=True)
        if value != default and name != "growth.stages"
    ]


def flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted names and values of a nested dict; lists count as values."""
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        found += flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found


def _environment(run: Run) -> list[tuple[str, Any]]:
    names = ("growreel", "torch", "python", "numpy", "platform", "cpu_threads", "cuda", "processes")
    return [(name.replace("_", " "), run.environment[name]) for name in names if run.environment.get(name) is not None]

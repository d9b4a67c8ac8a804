"""The normal values that `growreel.training.diagnosis` compares a run's critic with, from the runs of studies/quality.py.

    python studies/health_bands.py RUNS

Writes src/growreel/training/bands.json: by form of the loss, size that the penalty is meant for, and stage, the 1st and 99th percentile of
the distance between the mean scores of real and of generated clips, over all lines of all runs. Then names what `diagnose` would have
said in those runs at every line.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from growreel.config import load_config
from growreel.training import diagnosis
from growreel.training.stats import read_lines

BANDS = Path(diagnosis.__file__).with_name("bands.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    runs = [path.parent for path in sorted(parser.parse_args().runs.glob("*/stats.jsonl"))]
    gaps: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in runs:
        loss = load_config(run / "config.yaml").loss
        if loss.penalty_reference not in ("last", "32x256x256"):
            continue
        form = loss.name if loss.name != "swgan" else f"swgan-{loss.swgan.feature_penalty}"
        for line in read_lines(run / "stats.jsonl"):
            if "critic_real" in line:
                gaps[form][loss.penalty_reference][line["stage"]].append(abs(line["critic_real"] - line["critic_fake"]))
    bands = {
        form: {
            reference: {stage: [float(f"{q:.2g}") for q in np.quantile(values, [0.01, 0.99])] for stage, values in sorted(stages.items())}
            for reference, stages in sorted(references.items())
        }
        for form, references in sorted(gaps.items())
    }
    BANDS.write_text(json.dumps(bands, indent=1) + "\n", encoding="utf-8")
    diagnosis._bands.cache_clear()
    said = Counter[str]()
    for run in runs:
        config = load_config(run / "config.yaml")
        lines = [line for line in read_lines(run / "stats.jsonl") if "loss_discriminator" in line]
        found = {finding.sickness for end in range(1, len(lines) + 1) for finding in diagnosis.diagnose(lines[:end], config)}
        said.update(found)
        if found:
            print(f"{run.name}: {', '.join(sorted(found))}")
    print(f"{len(runs)} runs, {sum(said.values())} findings")


if __name__ == "__main__":
    main()

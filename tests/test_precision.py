"""Arithmetic: what the settings are inside and after, and who computes within them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import colored, tiny_config
from growreel.bench.workload import StageWorkload
from growreel.config import to_dict
from growreel.evaluation.extractors import c3d, i3d, inception, networks
from growreel.evaluation.extractors.weights import WeightsFile
from growreel.models import build_generator
from growreel.models.generator import Generator
from growreel.runtime import precision
from growreel.runtime.precision import Arithmetic, set_arithmetic, use_arithmetic
from growreel.sampling import clips_of_latents
from growreel.training import step
from growreel.training.loop import train

CPU = torch.device("cpu")


Settings = dict[str, Any]
SECRET = "PyTorch does not tell, as older and newer names disagree"


def settings() -> Settings:
    """Everything in PyTorch that decides what a product of float32 numbers is, by its newer names and, where it tells, its older ones."""
    backends: Any = torch.backends
    found: Settings = {
        "convolution": backends.cudnn.conv.fp32_precision,
        "recurrent": backends.cudnn.rnn.fp32_precision,
        "product": backends.cuda.matmul.fp32_precision,
        "convolution, CPU": backends.mkldnn.conv.fp32_precision,
        "product, CPU": backends.mkldnn.matmul.fp32_precision,
        "benchmark": backends.cudnn.benchmark,
        "deterministic": backends.cudnn.deterministic,
    }
    for name, read in (("allow_tf32", lambda: backends.cudnn.allow_tf32), ("matmul precision", torch.get_float32_matmul_precision)):
        try:
            found[name] = read()
        except RuntimeError:
            found[name] = SECRET
    return found


FULL = {"convolution": "ieee", "recurrent": "ieee", "product": "ieee", "allow_tf32": False, "matmul precision": "highest"}
TF32 = {"convolution": "tf32", "recurrent": "tf32", "product": "tf32", "allow_tf32": True, "matmul precision": "high"}
CPU_FULL = {"convolution, CPU": "ieee", "product, CPU": "ieee"}
FASTEST = {"benchmark": True}


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    """Tests leave the settings as PyTorch has them at first."""
    backends: Any = torch.backends
    before, parent, kernels = precision._settings(), backends.fp32_precision, backends.cudnn.benchmark
    yield
    backends.cudnn.benchmark = kernels
    backends.fp32_precision = parent
    precision._restore(before)


def older_names() -> None:
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("medium")  # on a CPU products in bfloat16


def newer_names() -> None:
    backends: Any = torch.backends
    backends.cudnn.conv.fp32_precision = "ieee"
    backends.cuda.matmul.fp32_precision = "tf32"
    backends.mkldnn.conv.fp32_precision = "bf16"


def everything_below() -> None:
    backends: Any = torch.backends
    backends.fp32_precision = "tf32"
    backends.cudnn.conv.fp32_precision = backends.cuda.matmul.fp32_precision = "none"  # what its parent says


@pytest.mark.parametrize("found", [lambda: None, older_names, newer_names, everything_below])
@pytest.mark.parametrize(("name", "expected"), [("float32", FULL), ("bfloat16", FULL), ("tf32", TF32)])
def test_arithmetic_holds_inside_and_is_as_found_after(found: Callable[[], None], name: Arithmetic, expected: Settings) -> None:
    found()
    before = settings()
    with use_arithmetic(name) as said:
        assert said == name
        assert settings() == before | expected | CPU_FULL
        with pytest.raises(ZeroDivisionError), use_arithmetic("tf32" if name == "float32" else "float32", repeatable=True):
            assert settings()["deterministic"] and not settings()["benchmark"]
            raise ZeroDivisionError
        assert settings() == before | expected | CPU_FULL
    after = settings()
    assert after == {name: after[name] if value == SECRET else value for name, value in before.items()}


def test_samples_are_computed_in_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside every pass; in between the caller's settings are back."""
    seen: list[Settings] = []
    forward = Generator.forward

    def watched(*arguments: Any) -> torch.Tensor:
        seen.append(settings())
        return forward(*arguments)

    monkeypatch.setattr(Generator, "forward", watched)
    older_names()
    before, generator = settings(), build_generator(colored(tiny_config())).requires_grad_(False)
    for name in ("float32", "bfloat16"):
        for _ in clips_of_latents(generator, generator.plan.position(200), torch.randn(2, 8), 1.0, name):
            assert settings() == before
            assert seen.pop() == before | FULL | CPU_FULL | {"benchmark": False, "deterministic": True}
    assert not seen


@pytest.mark.parametrize(("name", "expected"), [("float32", FULL), ("tf32", TF32)])
def test_every_network_of_the_metrics_computes_in_what_its_card_says(
    name: Arithmetic, expected: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []

    class Watched(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(settings())
            return x.flatten(1)[:, :5]

    for module in (inception, i3d, c3d):
        monkeypatch.setattr(module, "load", lambda *_: Watched())
    monkeypatch.setattr(c3d, "load_mean", lambda _: torch.zeros(3, 16, 128, 171))
    older_names()
    before, file = settings(), WeightsFile(Path("weights"), "0" * 64, None)
    extractors = (
        networks.InceptionFeatures(file, 768, CPU, arithmetic=name),
        networks.I3DLogits(file, "stretch", CPU, arithmetic=name),
        networks.C3DProbabilities(file, file, "tgan", CPU, arithmetic=name),
    )
    for extractor in extractors:
        extractor(np.zeros((1, 16, 8, 8, 3), np.uint8), [0])
        assert seen and all(each == before | expected | CPU_FULL | {"benchmark": False, "deterministic": True} for each in seen)
        assert settings() == before and extractor.describe()["precision"] == name
        seen.clear()


def test_training_and_bench_compute_in_full(shapes_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    take = step.generator_step

    def watched(*arguments: Any) -> Any:
        seen.append(settings())
        return take(*arguments)

    monkeypatch.setattr(step, "generator_step", watched)
    older_names()
    before = settings()
    train(shapes_store, tmp_path / "run", tiny_config(clips=8, precision="bfloat16"), progress=False)
    assert seen == [before | FULL | CPU_FULL | FASTEST] * 2 and settings() == before
    config = colored(tiny_config())
    StageWorkload(to_dict(dataclasses.replace(config)), 0, "cpu")  # a process of its own: it need not put anything back
    assert settings() == before | FULL | CPU_FULL | FASTEST
    set_arithmetic("tf32")
    assert settings() == before | TF32 | CPU_FULL | FASTEST

"""Exported generators make the source's clips, and an ONNX file needs nothing of growreel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import tiny_config
from growreel.cli.main import main
from growreel.config.schema import GeneratorKind, NetworkConfig, OutputKind, PlanesKind, Resampling, TimePadding
from growreel.errors import GrowreelError
from growreel.export import export
from growreel.export import files as files_module
from growreel.export.plain import PlainGenerator
from growreel.growth import Position
from growreel.models import build_generator
from growreel.models.files import load_generator
from growreel.runtime.randomness import latents_of_seeds
from growreel.sampling import generate
from growreel.training.loop import train
from telltale import contents

DOCS = Path(__file__).parents[1] / "docs" / "export.md"


@pytest.fixture(scope="module")
def run(shapes_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ends in the middle of a fade, so that its models blend two stages."""
    path = tmp_path_factory.mktemp("exported") / "run"
    train(shapes_store, path, tiny_config(clips=60), progress=False)
    return path


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize(("kind", "planes"), [("plain", "linear"), ("modulated", "linear"), ("modulated", "curved")])
@pytest.mark.parametrize("resampling", ["box", "smooth"])
@pytest.mark.parametrize("time_padding", ["zeros", "replicate"])
@pytest.mark.parametrize(("stage", "alpha"), [(0, 1.0), (1, 0.3), (1, 1.0)])
def test_the_plain_generator_is_the_generator(
    stage: int, alpha: float, time_padding: TimePadding, resampling: Resampling, kind: GeneratorKind, planes: PlanesKind, skips: bool
) -> None:
    config = tiny_config()
    output: OutputKind = "tanh" if kind == "modulated" else "linear"
    tree = NetworkConfig(
        max_channels=4,
        latent_dim=8,
        feature_dim=8,
        image_channels=3,
        resampling=resampling,
        generator=kind,
        planes=planes,
        skips=skips,
        output=output,
        time_padding=time_padding,
    )
    torch.manual_seed(0)
    generator = build_generator(config.__class__(growth=config.growth, network=tree)).double()
    plain = PlainGenerator(generator, Position(stage, "fade" if alpha < 1 else "stable", alpha))
    latents = torch.randn(5, 8, dtype=torch.float64)
    for truncation in (1.0, 0.4):
        expected = generator(latents, stage, alpha, truncation).clamp(-1, 1)
        torch.testing.assert_close(plain(latents, torch.tensor([truncation], dtype=torch.float64)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_an_exported_file_makes_the_same_clips(format: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    out = tmp_path / f"model.{format}"
    assert main(["export", str(run), "--format", format, "--out", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    model = load_generator(run)
    assert (facts["stage"], facts["license"], float(facts["alpha"])) == ("4x8x8", model.license, round(model.position.alpha, 6))
    expected = generate(model, range(7))
    latents, truncation = latents_of_seeds(range(7), 8), np.ones(1, np.float32)
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        clips = session.run(["clips"], {"latents": latents, "truncation": truncation})[0]
        assert session.get_modelmeta().custom_metadata_map.items() >= facts.items()
    else:
        extra = {"growreel.json": ""}
        program = torch.export.load(out, extra_files=extra).module()
        clips = program(torch.from_numpy(latents), torch.from_numpy(truncation)).detach().numpy()
        assert json.loads(extra["growreel.json"]) == facts
    assert "plain.py" not in "".join(map(repr, contents(out.read_bytes()))), "where the program is installed is nobody's business"
    levels = np.rint((clips + 1) * 127.5).astype(int).transpose(0, 2, 3, 4, 1)
    assert np.abs(levels - expected.astype(int)).max() <= 1 and (levels == expected).mean() > 0.99


def test_the_example_needs_nothing_of_growreel(run: Path, tmp_path: Path) -> None:
    """The code of docs/export.md, in a process that cannot import growreel or PyTorch."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    export(run, tmp_path / "model.onnx")
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(example.splitlines()) <= 20
    blocked = "import sys\nsys.modules['growreel'] = sys.modules['torch'] = None\n"
    done = subprocess.run([sys.executable, "-c", blocked + example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clips.gif").stat().st_size > 100


def test_a_wrong_export_does_not_appear(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "LARGEST_ERROR", -1.0)
    (tmp_path / "m.pt2").write_bytes(b"old")
    with pytest.raises(GrowreelError, match="differ from the source's by up to"):
        export(run, tmp_path / "m.pt2", "pt2")
    assert (tmp_path / "m.pt2").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_clear_errors(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "m.onxx")]) == 2
    assert "a file of the format onnx ends in .onnx" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(run), "--out", str(tmp_path / "m.onnx")]) == 2
    assert "--format onnx: onnx is not installed; pip install 'growreel[onnx]'" in capsys.readouterr().err
    with pytest.raises(GrowreelError, match="--format tflite: there is no such format"):
        export(run, tmp_path / "m.tflite", "tflite")  # type: ignore[arg-type]

"""Model files: the same to the byte, checked when read, found by number."""

from __future__ import annotations

import json
import re
import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from conftest import colored, tiny_config
from growreel.errors import GrowreelError
from growreel.models import build_generator
from growreel.models.files import load_generator, newest_model, save_model, write_model


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "models" / "000000070.safetensors"
    config = colored(tiny_config())
    save_model(path, build_generator(config), config, 70, 12.5, data=[{"clips": 3}])
    return path


def test_the_same_model_is_the_same_file(model_file: Path, tmp_path: Path) -> None:
    for k in range(5):
        torch.manual_seed(0)
        config = colored(tiny_config())
        save_model(tmp_path / f"{k}.safetensors", build_generator(config), config, 70, 12.5, data=[{"clips": 3}])
        assert (tmp_path / f"{k}.safetensors").read_bytes() == model_file.read_bytes()
    with safe_open(model_file, framework="pt") as file:  # as any other program reads it
        assert file.metadata()["fps"] == "12.5"
        expected = build_generator(config).state_dict()
        assert {name: file.get_tensor(name).shape for name in file.keys()} == {k: v.shape for k, v in expected.items()}  # noqa: SIM118


def test_every_damaged_byte_is_found(model_file: Path) -> None:
    """Each byte of the header, and every 97th of the weights, changed in one bit."""
    data = model_file.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    for place in (*range(0, header, 7), *range(header, len(data), 97), len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        model_file.write_bytes(changed)
        with pytest.raises(GrowreelError, match=r"000000070.safetensors: is "):
            load_generator(model_file)
    for wrong in (data[:-1], data + b"\0", data[: header - 1], data[:5], b""):
        model_file.write_bytes(wrong)
        with pytest.raises(GrowreelError, match=r"000000070.safetensors: is "):
            load_generator(model_file)
    model_file.write_bytes(data)
    assert load_generator(model_file).data == ({"clips": 3},)


def test_weights_that_are_not_finite_are_refused(model_file: Path) -> None:
    model = load_generator(model_file)
    with safe_open(model_file, framework="pt") as file:
        header = {name: text for name, text in file.metadata().items() if name != "sha256"}
    weights = model.generator.state_dict()
    weights["dense.bias"][0] = float("inf")
    write_model(model_file, weights, header)
    with pytest.raises(GrowreelError, match=r"dense.bias has weights that are not finite"):
        load_generator(model_file)


@pytest.mark.parametrize(
    ("field", "text"),
    [("config", "a: ["), ("config", "[1]"), ("position", "{}"), ("position", "[" * 10**5), ("fps", "fast"), ("data", "3"), ("plan", None)],
)
def test_a_header_with_right_checksum_and_wrong_contents_is_named(field: str, text: str | None, model_file: Path) -> None:
    with safe_open(model_file, framework="pt") as file:
        header = {name: value for name, value in file.metadata().items() if name != "sha256"}
    if text is None:
        header["position"] = json.dumps({"clips_shown": 1, "stage": 5, "phase": "fade", "alpha": 0.5})
    else:
        header[field] = text
    write_model(model_file, load_generator(model_file).generator.state_dict(), header)
    with pytest.raises(GrowreelError, match=r"000000070.safetensors"):
        load_generator(model_file)


def test_files_of_the_first_format_are_read(model_file: Path) -> None:
    """growreel 0.1 wrote neither a checksum nor records of the data, and its header in any order."""
    with safe_open(model_file, framework="pt") as file:
        header = {name: text for name, text in file.metadata().items() if name not in ("sha256", "data")}
    weights = load_generator(model_file).generator.state_dict()
    save_file(weights, model_file, {**header, "format": "growreel-generator-1"})
    assert load_generator(model_file).data == ()


def _resigned(path: Path, **changes: str) -> None:
    """Change entries of a model file's header and sign it again, as somebody who means harm would."""
    with safe_open(path, framework="pt") as file:
        header = {name: text for name, text in file.metadata().items() if name != "sha256"}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    write_model(path, weights, {**header, **changes})


@pytest.mark.parametrize("field", ["latent_dim", "max_channels", "base_channels"])
def test_a_small_file_that_describes_a_large_network_takes_no_memory(field: str, model_file: Path) -> None:
    with safe_open(model_file, framework="pt") as file:
        config = file.metadata()["config"]
    huge = re.sub(rf"{field}: \d+", f"{field}: 10000000", config)
    assert huge != config or field == "base_channels"
    _resigned(model_file, config=huge if field != "max_channels" else huge.replace("base_channels: 1024", "base_channels: 100000000"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if field == "base_channels":
        load_generator(model_file)  # a width that max_channels bounds
    else:
        with pytest.raises(GrowreelError, match="its weights do not fit its own configuration"):
            load_generator(model_file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


@pytest.mark.parametrize("config", ["a: &a [1]\nb: *a\n", "network: {<<: {latent_dim: 3}}", "[" * 5000, "network: !!set {latent_dim}"])
def test_yaml_in_a_header_is_read_as_strictly_as_a_file(config: str, model_file: Path) -> None:
    _resigned(model_file, config=config)
    with pytest.raises(GrowreelError, match=r"000000070.safetensors: its header is damaged") as caught:
        load_generator(model_file)
    assert len(str(caught.value)) < 600


def test_the_newest_model_is_that_of_most_clips(model_file: Path) -> None:
    for name in ("best-so-far", "1000000000", "000000080", ".000000090.safetensors.0123456789abcdef.partial"):
        shutil.copyfile(model_file, model_file.with_name(f"{name}.safetensors"))
    assert newest_model(model_file.parent.parent).stem == "1000000000"
    for path in model_file.parent.glob("*0*.safetensors"):
        path.unlink()
    with pytest.raises(GrowreelError, match=r"has no models/<clips>.safetensors"):
        newest_model(model_file.parent.parent)


def test_a_model_that_cannot_be_written_leaves_the_old_one(model_file: Path) -> None:
    config = colored(tiny_config())
    (model_file.parent / "folder").write_text("")
    with pytest.raises(GrowreelError, match="the model file could not be written"):
        save_model(model_file.parent / "folder" / "x.safetensors", build_generator(config), config, 70, 12.5)
    assert load_generator(model_file).clips_shown == 70

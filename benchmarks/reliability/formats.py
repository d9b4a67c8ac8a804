"""The formats that `mutations.py` damages: a whole file of each, how growreel reads it, and how somebody would sign a forged one."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from damage import damaged_bytes, damaged_text

from growreel.config import Config, from_dict, load_config, to_yaml
from growreel.data.index import sign_index
from growreel.data.record import DataRecord
from growreel.data.shapes import shape_clips
from growreel.data.store import ClipStore
from growreel.data.writer import StoreWriter
from growreel.evaluation.clips import ArrayClips
from growreel.evaluation.extractors.arrays import read_arrays
from growreel.evaluation.rows import MARK, SEAL_BYTES, RowFile, read_rows
from growreel.growth import Size
from growreel.models.files import load_generator, save_model
from growreel.models.header import packed_header
from growreel.training.checkpoint import MANIFEST_FILE, STATE_FILE, STATISTICS_FILE, newest_checkpoint, save_checkpoint
from growreel.training.saved_state import check_saved
from growreel.training.state import TrainingState
from growreel.video.archives import MediaFile
from growreel.video.arrays import array_frames, list_arrays
from growreel.video.media import Findings

SIZE = Size(2, 4, 4)


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        files: those that are damaged, one at a time.
        read: reads everything as growreel does; returns a fingerprint of what came out. Raises GrowreelError for what it refuses.
        forge: one of `files` changed on purpose, its checksum made right again where it has one.
        sealed: damage must be found, for the format has a checksum. What people write by hand has none.
    """

    files: tuple[Path, ...]
    read: Callable[[], str]
    forge: Callable[[Path, bytes, Random], bytes]
    sealed: bool


def small_config() -> Config:
    """Two stages and narrow networks."""
    return from_dict(
        {
            "growth": {"stages": ["2x4x4", "4x8x8"], "fade_clips": 12, "stable_clips": 8, "minibatch": 4},
            "network": {"max_channels": 2, "latent_dim": 4, "feature_dim": 4, "image_channels": 3},
            "training": {"device": "cpu"},
        },
        "small_config",
    )


def model_format(folder: Path) -> Format:
    file, state = folder / "000000020.safetensors", TrainingState(small_config(), torch.device("cpu"))
    save_model(file, state.ema, small_config(), 20, 8.0, data=[{"clips": 3}])

    def read() -> str:
        model = load_generator(file)
        facts = (to_yaml(model.config), model.position, model.clips_shown, model.fps, model.license, model.data)
        return _fingerprint(facts, model.generator.state_dict())

    def forge(_: Path, data: bytes, random: Random) -> bytes:
        length = int.from_bytes(data[:8], "little")
        header, values = data[8 : 8 + length], data[8 + length :]
        if random.random() < 0.3:
            return _signed_model(*malformed_header(json.loads(header), values, random))
        if random.random() < 0.5:
            tree = json.loads(header)
            name = random.choice(sorted(tree["__metadata__"]))
            text = damaged_text(tree["__metadata__"][name].encode(), random, yaml=name == "config")
            tree["__metadata__"][name] = text.decode(errors="replace")
            return _signed_model(tree, values)
        changed = damaged_text(header, random)
        try:
            return _signed_model(json.loads(changed), values)
        except (ValueError, RecursionError, KeyError, AttributeError, TypeError):
            return len(changed).to_bytes(8, "little") + changed + values

    return Format((file,), read, forge, sealed=True)


def malformed_header(tree: dict[str, Any], values: bytes, random: Random) -> tuple[dict[str, Any], bytes]:
    """The headers that safetensors' own tests hold to be wrong (safetensors/src/tensor.rs), each on a model file of ours."""
    name = random.choice([key for key in tree if key != "__metadata__"])
    entry, size = tree[name], len(values)
    match random.randrange(14):
        case 0:  # shape whose product overflows
            entry["shape"] = [2, 2**64 - 2]
        case 1:
            entry["shape"] = [2**62, 2**62]
        case 2:  # offsets: begin after end, hole, overlap, beyond the file, negative, fraction
            entry["data_offsets"] = entry["data_offsets"][::-1]
        case 3:
            entry["data_offsets"] = [offset + 4 for offset in entry["data_offsets"]]
        case 4:
            entry["data_offsets"] = [0, entry["data_offsets"][1] - entry["data_offsets"][0]]
        case 5:
            entry["data_offsets"] = [size, size + 10**12]
        case 6:
            entry["data_offsets"] = random.choice(([-4, 4], [0.5, 4.5], [0], [], None, "0", [0, 4, 8]))
        case 7:  # types
            entry["dtype"] = random.choice(("F31", "", None, 3, "I64", "BOOL", "F8_E4M3"))
        case 8:
            entry["shape"] = random.choice((None, 3, [[]], ["3"], [-1], [1.5], [True], [1] * 70, {}))
        case 9:
            del entry[random.choice(sorted(entry))]
        case 10:
            tree[name] = random.choice((None, [], 3, "x"))
        case 11:  # too few and too many values
            return tree, random.choice((values[:-4], values + b"\0" * 4, b""))
        case 12:
            tree["__metadata__"][random.choice(sorted(tree["__metadata__"]))] = random.choice((3, None, [], {}))
        case _:
            tree["extra"] = {"dtype": "F32", "shape": [0], "data_offsets": [size, size]}
    return tree, values


def _signed_model(tree: dict[str, Any], values: bytes) -> bytes:
    tree["__metadata__"].pop("sha256", None)
    digest = hashlib.sha256(packed_header(tree) + values).hexdigest()
    tree["__metadata__"]["sha256"] = digest
    return packed_header(tree) + values


def checkpoint_format(folder: Path) -> Format:
    state = TrainingState(small_config(), torch.device("cpu"))
    state.clips_shown = 20
    for parameter in (*state.generator.parameters(), *state.discriminator.parameters()):
        parameter.grad = torch.ones_like(parameter)
    state.generator_optimizer.step()
    state.discriminator_optimizer.step()
    saved = {**state.state_dict(), "means": {"sums": {"loss": 1.5}, "counts": {"loss": 2}}}
    lines = '{"clips": 8, "loss": 1.0}\n' * 5
    path = save_checkpoint(folder, 20, saved, 2, statistics=lines, model={"format": "x"}, made={"models/000000020.safetensors": "0" * 64})

    def read() -> str:
        found = newest_checkpoint(folder, lambda _: None, lambda loaded: check_saved(loaded, state))
        assert found is not None
        state.load_state_dict(found.state)
        tensors = {f"{name}.{key}": value for name, module in state.modules().items() for key, value in module.state_dict().items()}
        for name in ("generator_optimizer", "discriminator_optimizer"):
            for number, moments in found.state[name]["state"].items():
                tensors |= {f"{name}.{number}.{key}": value for key, value in moments.items()}
        plain = {key: found.state[key] for key in ("clips_shown", "rollbacks", "optimizers_for", "means")}
        return _fingerprint((plain, found.statistics, found.model, found.made), tensors)

    def forge(file: Path, data: bytes, random: Random) -> bytes:
        if file.name != MANIFEST_FILE:  # forged states are `old_checkpoint_format`'s, which has no checksum to make right
            return damaged_pickle(data, random) if file.name == STATE_FILE else damaged_bytes(data, random)
        try:
            manifest = json.loads(damaged_text(data, random))
            manifest.pop("sha256", None)
            digest = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
            return (json.dumps({**manifest, "sha256": digest}, indent=1) + "\n").encode()
        except (ValueError, RecursionError, AttributeError):
            return damaged_text(data, random)

    return Format((path / STATE_FILE, path / MANIFEST_FILE, path / STATISTICS_FILE), read, forge, sealed=True)


def old_checkpoint_format(folder: Path) -> Format:
    """A state.pt alone, as growreel 0.1 wrote it: no checksum beside it, so the unpickler meets whatever is in it."""
    new = checkpoint_format(folder)
    packed = {**torch.load(new.files[0], weights_only=True)}
    del packed["format"]
    for file in new.files:
        file.unlink()
    torch.save(packed, new.files[0])
    return Format(new.files[:1], new.read, lambda _, data, random: damaged_pickle(data, random), sealed=True)


def damaged_pickle(data: bytes, random: Random) -> bytes:
    """A `state.pt` whose members, the pickle first of all, were changed, with right check sums inside."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = random.choice([next(name for name in members if name.endswith("data.pkl"))] * 3 + sorted(members))
    if members[name]:
        members[name] = damaged_bytes(members[name], random)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for each, value in members.items():
            archive.writestr(each, value)
    return packed.getvalue()


def index_format(folder: Path) -> Format:
    path = folder / "store"
    with StoreWriter(path, SIZE, 3, options={"size": "2x4x4"}, shard_bytes=2 * SIZE.voxels * 3) as writer:
        for number, clip in enumerate(shape_clips(5, SIZE)):
            writer.append(clip, source=f"{number % 2}.mp4", frame=2 * number, label="walk" if number else None)
        writer.finish_source("a.mp4")
        writer.finish(fps=8.0)

    def read() -> str:
        with ClipStore.open(path) as store:
            pixels = [store.read(range(len(store)), size).tobytes() for size in store.levels()]
            facts = (store.size, store.channels, store.fps, store.labels, store.clips, store.options, store.skipped)
            return _fingerprint((facts, store.levels(), pixels, DataRecord.of(store)), {})

    def forge(_: Path, data: bytes, random: Random) -> bytes:
        changed = damaged_text(data, random)
        try:
            return json.dumps(sign_index(json.loads(changed))).encode()
        except (ValueError, RecursionError, TypeError):
            return changed

    return Format((path / "index.json", *sorted((path / "levels").rglob("*.npy"))[:1]), read, forge, sealed=True)


def config_format(folder: Path) -> Format:
    file = folder / "config.yaml"
    file.write_text(to_yaml(small_config()))

    def read() -> str:
        config = load_config(file)
        config.growth.plan()
        return _fingerprint(to_yaml(config), {})

    return Format((file,), read, lambda _, data, random: damaged_text(data, random, yaml=True), sealed=False)


def array_format(folder: Path) -> Format:
    """`.npy` as clips to be measured and as films to be cut, `.npz` as films and as weights."""
    clips = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 5, 3), dtype=np.uint8)
    single, several = folder / "clips.npy", folder / "films.npz"
    np.save(single, clips)
    np.savez(several, a=clips, b=clips[0])

    def films(path: Path) -> list[bytes]:
        file = MediaFile(path)
        return [
            b"".join(s.picture.pixels().tobytes() for s in array_frames(file, part, 3, Findings())) for part in list_arrays(file)[0][:4]
        ]

    def read() -> str:
        measured = ArrayClips(single)
        first = measured.read(range(min(3, len(measured)))).tobytes()
        return _fingerprint((first, films(single), films(several)), read_arrays(several))

    def forge(file: Path, data: bytes, random: Random) -> bytes:
        header = data.index(b"{"), data.index(b"}") + 1
        changed = damaged_text(data[slice(*header)], random)
        room = header[1] - header[0]
        return (
            data[: header[0]]
            + (changed.ljust(room) if len(changed) <= room or random.random() < 0.5 else changed[:room])
            + data[header[1] :]
        )

    return Format((single, several), read, forge, sealed=False)


def reference_format(folder: Path) -> Format:
    file = folder / "pixels-0123.npy"
    rows = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    with file.open("wb") as stream:
        sealed = RowFile(stream, len(rows))
        sealed.append(rows)
        sealed.seal()

    def forge(_: Path, data: bytes, random: Random) -> bytes:
        changed = random.choice((damaged_bytes, damaged_text))(data[:-SEAL_BYTES], random)
        return changed + MARK + hashlib.sha256(changed).digest()

    def read() -> str:
        kept = read_rows(file)
        return _fingerprint((kept.shape, kept.dtype.str, kept.tobytes()), {})

    return Format((file,), read, forge, sealed=True)


FORMATS: Mapping[str, Callable[[Path], Format]] = {
    "model": model_format,
    "checkpoint": checkpoint_format,
    "checkpoint of 0.1": old_checkpoint_format,
    "index and shards": index_format,
    "config": config_format,
    ".npy and .npz": array_format,
    "reference features": reference_format,
}


def _fingerprint(facts: Any, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(repr(facts).encode(errors="replace"))
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {math.prod(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()

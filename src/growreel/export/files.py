"""Files of a trained generator that other programs read, each checked against the source before it appears."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from growreel.data.store import file_checksum
from growreel.errors import GrowreelError
from growreel.export.plain import PlainGenerator
from growreel.models.files import LoadedGenerator, load_generator
from growreel.runtime.durable import replacing, writing
from growreel.runtime.randomness import latents_of_seeds
from growreel.runtime.version import installed_version
from growreel.sampling import classes_of_seeds

Format = Literal["onnx", "pt2"]
FORMATS: tuple[Format, ...] = get_args(Format)
LARGEST_ERROR = 1e-4
"""Of values in -1 to 1: what an exported clip may differ from the source's; an 80th of a level of 256."""
HALVED_FROM = 64
"""Weights of so many numbers or more are stored in half precision where that is asked for."""
CHECKED_SEEDS = (0, 1, 2)

Run = Callable[..., NDArray[np.float32]]
"""Clips of latents, truncation and, of a conditional generator, classes."""
Source = Callable[..., torch.Tensor]


def export(model: str | Path, out: str | Path, format: Format = "onnx") -> dict[str, str]:
    """Write a generator for other programs.

    Its inputs are `latents`, float32 [n, d], standard normal, any n, `truncation`, float32 [1], usually 1, and of a conditional generator
    `classes`, int64 [n], places in the fact of that name; its output `clips`, float32 [n, c, t, h, w] in -1 to 1. `onnx` needs the extra of
    that name here and nothing of growreel there; `pt2` is PyTorch's own format (`torch.export.load`), in place of TorchScript, which
    PyTorch has deprecated.

    Args:
        model: model file, run folder, or name of a model that comes with growreel.
        out: file to write; its ending must be that of the format.
        format: `onnx` or `pt2`.

    Returns:
        The facts that the file carries: where it comes from, licence, axes, range; of a conditional generator also `classes`, a JSON list.

    Raises:
        GrowreelError: for a format or ending that is none, a package that is missing, a model that cannot be read, or clips that differ
            from the source's by more than 1e-4; nothing is written then.
    """
    out = Path(out)
    if format not in FORMATS:
        raise GrowreelError(f"--format {format}: there is no such format; choose from {', '.join(FORMATS)}")
    if out.suffix != f".{format}":
        raise GrowreelError(f"--out {out}: a file of the format {format} ends in .{format}")
    loaded = load_generator(model)
    plain = PlainGenerator(loaded.generator, loaded.position).eval()
    facts = facts_of(loaded)
    packed, run = (_onnx if format == "onnx" else _pt2)(plain, loaded, facts)
    _check(run, _source(loaded), loaded, out)
    with writing(out), replacing(out) as file:
        file.write(packed)
    return facts


def facts_of(loaded: LoadedGenerator) -> dict[str, str]:
    """What an exported file says of itself."""
    position, generator = loaded.position, loaded.generator
    return {
        "growreel": installed_version("growreel"),
        "model_sha256": "" if loaded.path is None else file_checksum(loaded.path),
        "license": loaded.license,
        "clips_shown": str(loaded.clips_shown),
        "stage": str(generator.plan.sizes[position.stage]),
        "alpha": f"{position.alpha:g}",
        "fps": f"{loaded.fps * generator.plan.sizes[position.stage].t / loaded.size.t:g}",
        "latent_dim": str(generator.latent_dim),
        "axes": "clips, channels, frames, rows, columns",
        "range": "-1 to 1; levels of 256 are round((x + 1) * 127.5)",
        "data": json.dumps(loaded.data),
        **({"classes": json.dumps(loaded.classes)} if loaded.classes else {}),
    }


def _source(loaded: LoadedGenerator) -> Source:
    """The clips that `growreel sample` would make, before they are rounded to bytes."""

    def clips(latents: torch.Tensor, truncation: torch.Tensor, *classes: torch.Tensor) -> torch.Tensor:
        how = (loaded.position.stage, loaded.position.alpha, truncation.item(), None)
        made: torch.Tensor = loaded.generator(latents, *how, *classes)
        return made.clamp(-1, 1)

    return clips


def _check(run: Run, source: Source, loaded: LoadedGenerator, out: Path) -> None:
    """Compare the clips of some seeds, together and one alone, with two truncations. Raises GrowreelError if they differ."""
    latents, _, *classes = _examples(loaded)
    for clips, truncation in ((len(latents), 1.0), (1, 0.5)):
        given = (latents[:clips], torch.tensor([truncation]), *(each[:clips] for each in classes))
        with torch.no_grad():
            expected = source(*given).numpy()
        error = float(np.abs(run(*(each.numpy() for each in given)) - expected).max())
        if not error <= LARGEST_ERROR:
            raise GrowreelError(
                f"--out {out}: exported clips differ from the source's by up to {error:.2g}, allowed is {LARGEST_ERROR:g}; nothing "
                "was written"
            )


def _examples(loaded: LoadedGenerator) -> tuple[torch.Tensor, ...]:
    """Latents, truncation and, of a conditional generator, classes of the seeds that are checked."""
    latents = torch.from_numpy(latents_of_seeds(CHECKED_SEEDS, loaded.generator.latent_dim))
    classes = classes_of_seeds(loaded, CHECKED_SEEDS, None)
    return latents, torch.ones(1), *(() if classes is None else (classes,))


def _shapes(loaded: LoadedGenerator) -> dict[str, Any]:
    """Of the inputs by name, along which axis they may be of any length."""
    clips = {0: torch.export.Dim("clips")}
    return {"latents": clips, "truncation": None, **({"classes": clips} if loaded.classes else {})}


def onnx_model(loaded: LoadedGenerator, facts: dict[str, str], *, half: bool = False) -> bytes:
    """A generator as ONNX, checked against the source; with `half` against the source with its weights rounded to half precision, in
    which they are then stored. They are computed with in float32.

    Raises GrowreelError as `export` does.
    """
    plain = PlainGenerator(loaded.generator, loaded.position).eval()
    if half:
        with torch.no_grad():
            for buffer in plain.buffers():
                if buffer.numel() >= HALVED_FROM:
                    buffer.copy_(buffer.half().float())
    packed, run = _onnx(plain, loaded, facts, half)
    _check(run, plain if half else _source(loaded), loaded, Path("the page"))
    return packed


def _onnx(plain: PlainGenerator, loaded: LoadedGenerator, facts: dict[str, str], half: bool = False) -> tuple[bytes, Run]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - the exporter of PyTorch needs it
    except ImportError as error:
        raise GrowreelError(f"--format onnx: {error.name} is not installed; pip install 'growreel[onnx]'") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's exporter calls what PyTorch has deprecated
        warnings.filterwarnings("ignore", "# The axis name: clips will not be used", UserWarning)  # once is enough: classes are as many
        program = torch.onnx.export(
            plain,
            _examples(loaded),
            dynamo=True,
            dynamic_shapes=_shapes(loaded),
            input_names=list(_shapes(loaded)),
            output_names=["clips"],
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    forget_where(proto)
    onnx.helper.set_model_props(proto, facts)
    if half:
        half_weights(proto, onnx)
    onnx.checker.check_model(proto, full_check=True)
    packed: bytes = proto.SerializeToString()
    session = onnxruntime.InferenceSession(packed, providers=["CPUExecutionProvider"])

    def run(*given: NDArray[Any]) -> NDArray[np.float32]:
        clips: NDArray[np.float32] = session.run(["clips"], dict(zip(_shapes(loaded), given, strict=True)))[0]
        return clips

    return packed, run


def forget_where(proto: Any) -> None:
    """Remove what the exporter notes of each node: lines of this program, with the folders in which it is installed."""
    for graph in (proto.graph, *proto.functions):
        del graph.metadata_props[:]
        for part in (*graph.node, *graph.value_info, *getattr(graph, "input", ()), *getattr(graph, "initializer", ())):
            if hasattr(part, "metadata_props"):
                del part.metadata_props[:]


def half_weights(proto: Any, onnx: Any) -> None:
    """Store the float32 weights of a graph, of at least so many numbers, in half precision, and cast them back where they are used."""
    graph, casts = proto.graph, []
    for weight in graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < HALVED_FROM:
            continue
        name = weight.name
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)


def _pt2(plain: PlainGenerator, loaded: LoadedGenerator, facts: dict[str, str]) -> tuple[bytes, Run]:
    program = torch.export.export(plain, _examples(loaded), dynamic_shapes=_shapes(loaded))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the folders in which this program is installed
    stream = io.BytesIO()
    extra: dict[str, Any] = {"growreel.json": json.dumps(facts)}
    torch.export.save(program, stream, extra_files=extra)
    packed = stream.getvalue()
    module = torch.export.load(io.BytesIO(packed)).module()

    def run(*given: NDArray[Any]) -> NDArray[np.float32]:
        with torch.no_grad():
            clips: NDArray[np.float32] = module(*map(torch.from_numpy, given)).numpy()
        return clips

    return packed, run

"""Reading weights files: arrays by name, never code."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from growreel.errors import GrowreelError
from growreel.reading.files import read_file
from growreel.reading.npy import read_archive
from growreel.reading.words import plain
from growreel.runtime.torch_archive import MoreThanTensorsError, load_archive

Network = TypeVar("Network", bound=nn.Module)
SUFFIXES = (".npz", ".pt", ".pth", ".safetensors")


def read_arrays(path: Path) -> dict[str, Tensor]:
    """All arrays of a `.npz`, of a PyTorch state dict (`.pt`, `.pth`), or of a `.safetensors` file, on the CPU.

    A state dict may be wrapped in a dict under `state_dict`. Nothing that is pickled is executed: NumPy reads no objects, PyTorch
    tensors alone (`weights_only=True`).

    Raises GrowreelError for a file that is missing, damaged, of another format, or holds code.
    """
    try:
        match path.suffix.lower():
            case ".npz":
                return {name: torch.from_numpy(array) for name, array in read_archive(path).items()}
            case ".safetensors":
                return load_file(path)
            case ".pt" | ".pth":
                if zipfile.is_zipfile(path):
                    return _tensors(path, load_archive(read_file(path)))
                return _tensors(path, torch.load(path, map_location="cpu", weights_only=True))  # as PyTorch wrote before 1.6
    except (pickle.UnpicklingError, MoreThanTensorsError) as error:
        raise GrowreelError(
            f"{path}: holds more than tensors, and growreel runs no code from files; save its state_dict alone, or, if it is a "
            "TorchScript file that you trust, name it with --torchscript"
        ) from error
    except GrowreelError:
        raise
    except (OSError, ValueError, TypeError, EOFError, RuntimeError, LookupError, AttributeError, SafetensorError) as error:
        reason = plain(error) or type(error).__name__
        raise GrowreelError(f"{path}: cannot be read as a weights file ({reason}); get it again") from error
    raise GrowreelError(f"{path}: weights are {', '.join(SUFFIXES)} files; give one of these")


def load_state(network: Network, arrays: Mapping[str, Tensor], path: Path, what: str, names: Mapping[str, str] | None = None) -> Network:
    """The network with the arrays in place, in evaluation mode, without gradients. Arrays that it has no use for are passed over.

    Args:
        path, what: the file, and what it should hold, for the error.
        names: how the file calls a parameter, where that is not its name in the network.

    Raises GrowreelError naming an array that is missing or has another shape.
    """
    state = {}
    for name, tensor in network.state_dict().items():
        key = name if names is None else names[name]
        if key not in arrays:
            raise GrowreelError(f"{path}: has no array {key}; give {what}; growreel weights list says where it is from")
        if arrays[key].shape != tensor.shape:
            raise GrowreelError(f"{path}: {key} is {list(arrays[key].shape)}, should be {list(tensor.shape)}; give {what}")
        state[name] = arrays[key]
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _tensors(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise GrowreelError(f"{path}: is no state dict (tensors by name); save one with torch.save(network.state_dict(), FILE)")
    return {str(name): tensor for name, tensor in content.items()}

"""What the samples hold, as the libraries that wrote them read it."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
import safetensors

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"


PARSE: Final[Callable[[bytes], Any]] = safetensors.deserialize


class Stored(NamedTuple):
    """One tensor: element type by name, shape, and its bytes in C order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes | None
    """None where the file holds no values under this name."""


Tensors = dict[str, Stored]

SAFETENSORS_NAMES: Final = {
    "BOOL": "bool",
    "F4": "float4_e2m1fn",
    "F6_E2M3": "float6_e2m3fn",
    "F6_E3M2": "float6_e3m2fn",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "BF16": "bfloat16",
    "C64": "complex64",
    **{f"F8_{kind}": f"float8_{kind.lower()}" for kind in ("E5M2", "E4M3FNUZ", "E5M2FNUZ")},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def of_array(array: np.ndarray[Any, Any]) -> Stored:
    """A numpy array."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return Stored(array.dtype.name, array.shape, little.tobytes())


def safetensors_tensors(*files: str) -> Tensors:
    """By safetensors' own parser."""
    return {
        name: Stored(SAFETENSORS_NAMES[info["dtype"]], tuple(info["shape"]), bytes(info["data"]))
        for file in files
        for name, info in PARSE((FIXTURES / file).read_bytes())
    }


def npy_tensors(file: str) -> Tensors:
    """One array by numpy: its fields where it is structured."""
    array = np.load(FIXTURES / file)
    stem = Path(file).stem
    if array.dtype.names is None:
        return {stem: of_array(array)}
    return {
        f"{stem}.{name}": of_array(array[name])
        for name in array.dtype.names
        if array[name].dtype.names is None
    } | {
        f"{stem}.{outer}.{inner}": of_array(array[outer][inner])
        for outer in array.dtype.names
        for inner in array[outer].dtype.names or ()
    }


def npz_tensors(file: str) -> Tensors:
    """An archive by numpy."""
    with np.load(FIXTURES / file) as archive:
        return {name: of_array(archive[name]) for name in archive.files}


def of_torch(name: str, tensor: Any) -> Iterator[tuple[str, Stored]]:
    """A torch tensor: one row, or several for a sparse or quantised one."""
    import torch

    parts: dict[str, Any] = {}
    values = None
    if tensor.layout is torch.sparse_coo:
        parts = {"indices": tensor._indices(), "values": tensor._values()}
    elif tensor.layout is torch.sparse_csr:
        columns = tensor.col_indices()
        parts = {"crow_indices": tensor.crow_indices(), "col_indices": columns, "values": tensor.values()}
    elif tensor.is_quantized:
        values = tensor.int_repr()
        if tensor.qscheme() is torch.per_channel_affine:
            channels = tensor.q_per_channel_zero_points()
            parts = {"scales": tensor.q_per_channel_scales(), "zero_points": channels}
    else:
        values = tensor.detach()
        if values.is_conj():  # stored are the values before that
            values = values.conj().resolve_conj()
    raw = None if values is None else values.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    yield name, Stored(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), raw)
    for part, inner in parts.items():
        yield from of_torch(f"{name}.{part}", inner)


def flattened(name: str, content: Any) -> Iterator[tuple[str, Stored]]:
    """The tensors and arrays of nested containers, by dotted names."""
    import torch

    prefix = f"{name}." if name else ""
    if isinstance(content, torch.Tensor):
        yield from of_torch(name, content)
    elif isinstance(content, np.ndarray):
        yield name, of_array(content)
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from flattened(f"{prefix}{key}", value)
    elif isinstance(content, list | tuple):
        for index, value in enumerate(content):
            yield from flattened(f"{prefix}{index}", value)


def torch_tensors(*files: str, prefix: str = "") -> Tensors:
    """By torch, with the unpickler that calls nothing but the classes named here."""
    torch: Any = pytest.importorskip("torch")
    scalar = np._core.multiarray._reconstruct  # type: ignore[attr-defined]
    allowed = [argparse.Namespace, scalar, np.ndarray, np.dtype, type(np.dtype(np.uint32))]
    found: Tensors = {}
    for file in files:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found |= dict(
                flattened(prefix, torch.load(FIXTURES / file, map_location="cpu", weights_only=True))
            )
    return found


def script_tensors(file: str) -> Tensors:
    """By torch's script loader."""
    torch: Any = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(flattened("", dict(torch.jit.load(FIXTURES / file).state_dict())))


def distributed_tensors(folder: str) -> Tensors:
    """By torch.distributed.checkpoint, into tensors of the same shapes."""
    torch: Any = pytest.importorskip("torch")
    import torch.distributed.checkpoint as dcp

    weights = torch.load(FIXTURES / "state-dict.pt")
    state = {"model": {name: torch.zeros_like(tensor) for name, tensor in weights.items()}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(state, checkpoint_id=FIXTURES / folder, no_dist=True)
    return dict(flattened("", state))


def trainer_tensors() -> Tensors:
    """A folder's files, each by its own library."""
    found = safetensors_tensors("trainer/model.safetensors")
    for stem, suffix in {"optimizer": ".pt", "rng_state": ".pth", "scheduler": ".pt"}.items():
        found |= torch_tensors(f"trainer/{stem}{suffix}", prefix=stem)
    return found


_SIX = np.arange(6, dtype=np.float32)
_SHARDS = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
_STATE_DICT: Final = "state-dict.pt"

ORACLES: Final[dict[str, Callable[[], Tensors]]] = {
    "decoder.safetensors": lambda: safetensors_tensors("decoder.safetensors"),
    "all-dtypes.safetensors": lambda: safetensors_tensors("all-dtypes.safetensors"),
    "sharded": lambda: safetensors_tensors(*(f"sharded/{shard}" for shard in _SHARDS)),
    "adapter": lambda: safetensors_tensors("adapter/adapter_model.safetensors"),
    "packed-gptq": lambda: safetensors_tensors("packed-gptq/model.safetensors"),
    "corrupt/duplicate-name.safetensors": lambda: safetensors_tensors("corrupt/duplicate-name.safetensors"),
    "corrupt/runs-code.pkl": dict,
    "vector.npy": lambda: npy_tensors("vector.npy"),
    "fortran.npy": lambda: npy_tensors("fortran.npy"),
    "records.npy": lambda: npy_tensors("records.npy"),
    # numpy reads this one only by running its pickle: what the recipe put in
    "objects.npy": lambda: {
        "objects": Stored("object", (), None),
        "objects.weights": of_array(np.arange(4.0)),
    },
    "stored.npz": lambda: npz_tensors("stored.npz"),
    "deflated.npz": lambda: npz_tensors("deflated.npz"),
    "state-dict.pt": lambda: torch_tensors(_STATE_DICT),
    "training.pt": lambda: torch_tensors("training.pt"),
    "lightning.ckpt": lambda: torch_tensors("lightning.ckpt"),
    "dtypes.pt": lambda: torch_tensors("dtypes.pt"),
    "legacy.pth": lambda: torch_tensors("legacy.pth"),
    # torch reads these only by running their pickles: the network of state-dict.pt
    "module.pt": lambda: torch_tensors(_STATE_DICT),
    "pickled.pkl": lambda: torch_tensors(_STATE_DICT),
    "script.pt": lambda: script_tensors("script.pt"),
    "before-0.1.10.tar": lambda: {"weight": of_array(_SIX.reshape(2, 3)), "row": of_array(_SIX[3:])},
    "sharded-bin": lambda: torch_tensors(
        *(f"sharded-bin/pytorch_model-0000{number}-of-00002.bin" for number in (1, 2))
    ),
    "trainer": trainer_tensors,
    "distributed": lambda: distributed_tensors("distributed"),
    "real/silero_vad_16k.safetensors": lambda: safetensors_tensors("real/silero_vad_16k.safetensors"),
    "real/alex.pth": lambda: torch_tensors("real/alex.pth"),
}
"""Every sample that opens without an error, by its path."""

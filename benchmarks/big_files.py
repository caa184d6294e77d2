"""Large checkpoints for the benchmarks, written in moments: headers are real, data are holes."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

BLOCKS_OF_A_LAYER = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "norm")


def sparse_safetensors(path: Path, tensors: int, nbytes: int) -> Path:
    """A safetensors file of about `nbytes` of bfloat16, whose data are a hole in the file system."""
    width = 2
    columns = 1000 if nbytes // tensors >= 1000 * width else 4
    rows = nbytes // tensors // (columns * width)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for number in range(tensors):
        layer, block = divmod(number, len(BLOCKS_OF_A_LAYER))
        name = f"model.layers.{layer}.{BLOCKS_OF_A_LAYER[block]}.weight"
        begin, end = end, end + rows * columns * width
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    return path


_SAVE_MANY = """
import sys, torch
blocks = sys.argv[3].split(",")
names = (f"model.layers.{n // len(blocks)}.{blocks[n % len(blocks)]}.weight" for n in range(int(sys.argv[2])))
torch.save({name: torch.zeros(2, 2) for name in names}, sys.argv[1])
"""


def torch_archive(path: Path, tensors: int) -> Path:
    """What `torch.save` writes for a state dict of small tensors; torch is loaded in another process."""
    command = [sys.executable, "-c", _SAVE_MANY, str(path), str(tensors), ",".join(BLOCKS_OF_A_LAYER)]
    subprocess.run(command, check=True)
    return path

"""What it costs to look at a checkpoint: start-up, many tensors, a file larger than any memory."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from big_files import sparse_safetensors, torch_archive
from measuring import cost_of, median_cost, python

MANY = 100_000
_OPEN = "import sys, paraminspect; assert len(paraminspect.open(sys.argv[1]).parameters) == int(sys.argv[2])"
_SAFE_OPEN = (
    "import sys, safetensors; "
    "file = safetensors.safe_open(sys.argv[1], 'np'); "
    "assert sum(1 for name in file.keys() if file.get_slice(name).get_shape()) == int(sys.argv[2])"
)
_TORCH_LOAD = (
    "import sys, torch; assert len(torch.load(sys.argv[1], map_location='meta')) == int(sys.argv[2])"
)
_TORCH_ALONE = "import torch"


class Bar(NamedTuple):
    """One measured figure and what it is held against."""

    job: str
    figure: str
    reference: str
    budget: str
    met: bool


def bars(folder: Path, *, slow: bool, runs: int) -> Iterator[Bar]:
    """Every bar about opening, one after another."""
    yield from start_up(folder, runs)
    print(f"        (this machine now: {machine_speed(runs):.2f} CPU-s for 30 million additions)")
    yield many_safetensors(folder, runs)
    yield from many_torch(folder, slow, runs)
    yield terabyte(folder)


def start_up(folder: Path, runs: int) -> Iterator[Bar]:
    """`paraminspect FILE` on 1 GB of 400 tensors, beside a Python that does nothing."""
    path = sparse_safetensors(folder / "gigabyte.safetensors", 400, 10**9)
    nothing = median_cost(python("pass"), runs)
    listing = median_cost([*_program(), str(path)], runs)
    ratio = listing.wall / nothing.wall
    yield Bar(
        "paraminspect FILE, 1 GB, 400 tensors",
        f"{listing.wall * 1e3:.0f} ms wall",
        f"{ratio:.1f}x of python -c pass ({nothing.wall * 1e3:.0f} ms)",
        "at most 5x",
        ratio <= 5,
    )
    yield Bar(
        "the same, memory",
        f"{listing.peak / 1e6:.0f} MB resident",
        f"{listing.peak / nothing.peak:.1f}x of python -c pass",
        "at most 60 MB",
        listing.peak <= 60e6,
    )


def many_safetensors(folder: Path, runs: int) -> Bar:
    """Opening 100,000 tensors of one safetensors file, beside the format's own library."""
    path = sparse_safetensors(folder / "many.safetensors", MANY, MANY * 64)
    ours = median_cost(python(_OPEN, str(path), str(MANY)), runs)
    theirs = median_cost(python(_SAFE_OPEN, str(path), str(MANY)), runs)
    return Bar(
        f"open {MANY:,} tensors, safetensors",
        f"{ours.cpu:.2f} CPU-s, {ours.peak / 1e6:.0f} MB",
        f"{ours.cpu / theirs.cpu:.1f}x of safetensors' names and shapes ({theirs.cpu:.2f} CPU-s)",
        "at most 0.8 CPU-s",
        ours.cpu <= 0.8,
    )


def many_torch(folder: Path, slow: bool, runs: int) -> Iterator[Bar]:
    """Opening 100,000 tensors of one torch archive, beside `torch.load` on the meta device."""
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: the bar on torch archives is skipped", file=sys.stderr)
        return
    path = torch_archive(folder / "many.pt", MANY)
    ours = median_cost(python(_OPEN, str(path), str(MANY)), runs)
    reference = "torch.load not run: --slow"
    if slow:
        load = cost_of(python(_TORCH_LOAD, str(path), str(MANY)))
        alone = cost_of(python(_TORCH_ALONE))
        theirs = load.cpu - alone.cpu
        reference = f"1/{theirs / ours.cpu:.0f} of torch.load on meta ({theirs:.1f} CPU-s without the import)"
    yield Bar(
        f"open {MANY:,} tensors, torch zip",
        f"{ours.cpu:.2f} CPU-s, {ours.peak / 1e6:.0f} MB",
        reference,
        "at most 1.5 CPU-s",
        ours.cpu <= 1.5,
    )


def terabyte(folder: Path) -> Bar:
    """Listing a sparse file of 1 TB."""
    path = sparse_safetensors(folder / "terabyte.safetensors", 400, 10**12)
    listing = cost_of([*_program(), str(path)])
    return Bar(
        "paraminspect FILE, 1 TB, sparse",
        f"{listing.peak / 1e6:.0f} MB resident",
        f"{listing.peak / path.stat().st_size:.1e} of the file's size",
        "under 100 MB",
        listing.peak < 100e6,
    )


def machine_speed(runs: int) -> float:
    """CPU seconds of a fixed piece of Python: on a shared machine this differs from minute to minute."""
    return median_cost(python("sum(i for i in range(30_000_000))"), min(runs, 3)).cpu


def _program() -> list[str]:
    """The installed command, or the package run as a module where only that is there."""
    script = Path(sysconfig.get_path("scripts")) / "paraminspect"
    return [str(script)] if script.exists() else [sys.executable, "-m", "paraminspect"]

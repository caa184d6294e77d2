"""The formats, as data: how to recognise one, and which module reads it.

The bytes decide; a suffix that promises something else becomes a finding. Rows are asked in order, and the
order matters only where two formats share a container: the more particular one comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Final, NamedTuple, Protocol, cast

from .entry import Checkpoint
from .limits import Deadline, Limits
from .source import ByteSource, read

HEAD_BYTES: Final = 1024
"""Bytes from the start of a file that recognition may look at for free."""


class OpenContext(NamedTuple):
    """What a reader needs besides the bytes."""

    location: str
    """The path as the caller gave it; becomes `Checkpoint.location`."""

    limits: Limits
    deadline: Deadline
    follow_links: bool
    """Whether a side file may be a symbolic link that leaves its folder."""

    open_part: Callable[[str], Checkpoint]
    """Opens one more file, by path, as a checkpoint of its own: for containers that name their parts."""

    is_part: bool = False
    """The file was named by another one, and must not name further ones."""


class FormatModule(Protocol):
    """What a module in this folder must offer to be a format."""

    def recognises(self, source: ByteSource, head: bytes) -> bool:
        """Whether the bytes are of this format, broken or not; `head` is the first KiB. Must not raise
        for any content, and reads little beyond the head.
        """
        ...

    def open_checkpoint(self, source: ByteSource, context: OpenContext) -> Checkpoint:
        """Read the headers. Raises `ParamInspectError` and nothing else."""
        ...


class Format(NamedTuple):
    """One row of the registry."""

    name: str
    """As shown to people; a module may give its checkpoints a more particular one."""

    module: str
    """Module in this package."""

    signatures: tuple[tuple[int, bytes], ...]
    """(offset, bytes): at least one must match before the module is imported; empty means that the
    format has no fixed bytes and is asked last."""

    suffixes: tuple[str, ...]
    """Suffixes under which such files are expected."""


FORMATS: Final = (
    Format(
        "safetensors", "safetensors", tuple((8, bytes([byte])) for byte in b"{ \t\r\n"), (".safetensors",)
    ),
    Format("npy", "npy", ((0, b"\x93NUMPY"),), (".npy",)),
    # Four formats are zip archives: by their members, torch (TorchScript among it) before plain arrays.
    Format(
        "torch zip",
        "torch_zip",
        ((0, b"PK\x03\x04"), (0, b"PK\x05\x06")),
        (".pt", ".pth", ".bin", ".ckpt", ".tar", ".jit", ".pkl", ".th", ".model", ".ptl", ".torch"),
    ),
    Format("npz", "npz", ((0, b"PK\x03\x04"), (0, b"PK\x05\x06")), (".npz",)),
    Format(
        "torch legacy",
        "torch_legacy",
        ((0, b"\x80"),),
        (".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl", ".th", ".model", ".torch", ".t7"),
    ),
    Format(
        "torch tar",
        "torch_tar",
        ((257, b"ustar"), (0, b"sys_info"), (0, b"storages")),
        (".pt", ".pth", ".tar"),
    ),
    Format("index", "sharded", tuple((0, bytes([byte])) for byte in b"{ \t\r\n"), (".json",)),
    Format("pickle", "plain_pickle", (), (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt")),
)


def format_module(row: Format) -> FormatModule:
    """The module of a row, imported now."""
    return cast("FormatModule", import_module(f".{row.module}", __package__))


def may_be_checkpoint(start: ByteSource) -> bool:
    """Whether a file that begins so could be of any format: for streams whose end has not come yet."""
    head = read(start, 0, min(HEAD_BYTES, start.size()))
    for row in FORMATS:
        if any(head.startswith(magic, offset) for offset, magic in row.signatures):
            return True
        if not row.signatures and format_module(row).recognises(start, head):
            return True
    return False


def detect(source: ByteSource) -> tuple[Format, FormatModule] | None:
    """The first format that recognises the bytes, or None."""
    head = read(source, 0, min(HEAD_BYTES, source.size()))
    for row in FORMATS:
        if row.signatures and not any(head.startswith(magic, offset) for offset, magic in row.signatures):
            continue
        module = format_module(row)
        if module.recognises(source, head):
            return row, module
    return None

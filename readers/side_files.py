"""Files named by other files: one rule for their names, and bounded reading of JSON beside the weights."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Final

from .errors import CannotOpen, LimitExceeded, Malformed
from .limits import Limits
from .registry import OpenContext
from .source import ByteSource, FileSource, read
from .untrusted import printable

MAX_NAME_BYTES: Final = 1024
SHARD_NAME: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5,6})-of-(?P<count>\d{5,6})(?P<suffix>\.\w+)")
"""How shards are called: `model-00001-of-00004.safetensors`."""

_DRIVE_OR_URL: Final = re.compile(r"[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*://")


def name_fault(name: str) -> str | None:
    """Why a name from a file must not be used as a path, or None for a name that may."""
    if not name:
        return "is empty"
    if "\0" in name:
        return "holds a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "is not valid Unicode"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES:,} bytes"
    if name.startswith("/"):
        return "is an absolute path"
    if "\\" in name:
        return "holds a backslash"
    if _DRIVE_OR_URL.match(name):
        return "names a drive or a URL"
    if ".." in name.split("/"):
        return "leaves the folder through '..'"
    return None


def resolve_side_file(folder: str, name: str, context: OpenContext, named_by: ByteSource) -> str:
    """The path of a file that another file names, inside that file's folder.

    Args:
        folder: where the naming file lies, as the caller gave it (links in it are not resolved).
        name: text from the file.
        context: says whether links may leave the folder.
        named_by: the naming file, for errors.

    Raises:
        Malformed: the name is no plain relative path.
        CannotOpen: it is a link out of the folder, and links are not followed.
    """
    fault = name_fault(name)
    if fault is not None:
        raise Malformed(
            "side-file-name",
            f"it names the file {printable(name, 80)!r}, which {fault}; nothing outside the folder is opened",
            path=named_by.name,
            advice="the file was tampered with, or written by a faulty program",
        )
    path = os.path.join(folder, name)
    if not context.follow_links and leaves_folder(folder, path):
        raise CannotOpen(
            "side-file-link",
            "the file is a link that leaves its folder, and links are not followed",
            path=path,
            advice="open it with links followed if you trust where it points",
        )
    return path


def leaves_folder(folder: str, path: str) -> bool:
    """Whether a path, with its links resolved, lies outside the folder."""
    root = os.path.join(os.path.realpath(folder), "")
    return not os.path.realpath(path).startswith(root)


def read_json(
    source: ByteSource, limits: Limits, *, objects: Callable[[list[tuple[str, object]]], object] = dict
) -> object:
    """A JSON file beside the weights.

    Args:
        source: the file.
        limits: `index_bytes` bounds its size.
        objects: what becomes of each JSON object's pairs; `dict` keeps the last of equal keys.

    Raises:
        LimitExceeded: it is larger than the budget `index_bytes`.
        Malformed: it is no JSON.
    """
    size = source.size()
    if size > limits.index_bytes:
        raise LimitExceeded(
            "limit-index-bytes",
            f"the JSON file has {size:,} bytes, more than the budget of {limits.index_bytes:,}",
            path=source.name,
            advice="raise it with --limit index_bytes=N if you trust the file",
        )
    raw = read(source, 0, size)
    try:
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=objects)
    except json.JSONDecodeError as error:
        cause, offset = f"the file is not valid JSON: {error.msg}", len(error.doc[: error.pos].encode())
    except UnicodeDecodeError as error:
        cause, offset = "the JSON file is not valid UTF-8", error.start
    except RecursionError:
        cause, offset = "the JSON is nested too deep", 0
    except ValueError as error:
        cause, offset = f"the file is not valid JSON: {error}", 0
    raise Malformed("json", cause, path=source.name, offset=offset, advice="fetch the file again")


def read_json_object(path: str, limits: Limits) -> dict[str, object]:
    """A JSON file beside the weights that must hold one object.

    Raises:
        As `read_json`, and `CannotOpen`, `Malformed` when it holds something else.
    """
    source = FileSource(path)
    try:
        content = read_json(source, limits)
    finally:
        source.close()
    if not isinstance(content, dict):
        raise Malformed("json", "the JSON file holds no object", path=path, offset=0)
    return content

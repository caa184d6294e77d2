"""Reads files under an audit hook; run as a child process, because a hook cannot be taken out again.

    python audited_reading.py WARM_UP... -- FILE...

The first files are read to have the modules loaded that such files need. While the others are read, nothing
may happen but the opening of files for reading and the looking at folders; whatever else happens is printed,
a line for each event, followed by a line for each file that tells what was read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import ClassVar

from paraminspect.readers import Checkpoint, NamedTensor, ParamInspectError, open_checkpoint

# Looking things up: these change nothing and run nothing.
_HARMLESS = {
    "os.scandir",
    "os.listdir",
    "os.lstat",
    "sys._getframe",
    "object.__getattr__",
    "glob.glob",
    "builtins.id",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    """What an audit hook noticed while it was armed."""

    armed = False
    noticed: ClassVar[list[str]] = []


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if not Watch.armed or event in _HARMLESS:
        return
    if event == "open":
        _, mode, flags = arguments
        if mode in (None, "r", "rb") and isinstance(flags, int) and not flags & _WRITES:
            return
    Watch.noticed.append(f"{event} {arguments!r}")


def read_everything(path: str) -> str:
    """Open a file, list it, read the first values of each tensor."""
    lines = []
    try:
        with open_checkpoint(path) as checkpoint:
            lines += [checkpoint.format, repr(checkpoint)]
            for tensor in _tensors(checkpoint):
                lines.append(f"{tensor.name} {tensor.shape} {_values(tensor)}")
            lines += [f"{finding.code} {finding.message}" for finding in checkpoint.findings]
            lines.append(repr((checkpoint.metadata, checkpoint.hyperparameters, checkpoint.imports)))
    except ParamInspectError as error:
        lines.append(f"refused {error}")
    return " | ".join(lines).replace("\n", " ")


def _tensors(checkpoint: Checkpoint) -> Iterator[NamedTensor]:
    for index in range(min(20, len(checkpoint.parameters))):
        yield checkpoint.parameters[index]


def _values(tensor: NamedTensor) -> str:
    try:
        return repr(tensor.numpy().ravel()[:4].tolist())
    except ParamInspectError as error:
        return error.code


def main(arguments: list[str]) -> None:
    split = arguments.index("--")
    for path in arguments[:split]:
        read_everything(path)
    sys.addaudithook(hook)
    Watch.armed = True
    told = [read_everything(path) for path in arguments[split + 1 :]]
    Watch.armed = False
    sys.stdout.writelines(f"EVENT {line}\n" for line in Watch.noticed)
    sys.stdout.writelines(f"READ {line}\n" for line in told)


if __name__ == "__main__":
    main(sys.argv[1:])

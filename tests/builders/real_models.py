"""Trained models inside public packages: found without importing the packages."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest


def real_model(package: str, ending: str) -> Path:
    """The one file of an installed package whose path ends so; the test is skipped without the package."""
    try:
        files = metadata.files(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"the package {package}, which holds the model, is not installed")
    found = [file for file in files or () if str(file).endswith(ending)]
    assert len(found) == 1, (package, ending, found)
    return Path(str(found[0].locate()))

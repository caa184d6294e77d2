"""What a wheel of this project holds."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import paraminspect
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ("readers", "inspector", "tui")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from the checkout, without network."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "paraminspect"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    code = "import sys\nfrom setuptools import build_meta\nbuild_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=source,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 and "setuptools" in done.stderr:
        pytest.skip(f"this setuptools cannot build the project: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked() -> set[str]:
    done = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_wheel_holds_the_package_and_nothing_else(wheel_names: set[str]) -> None:
    expected = {
        f"paraminspect/{name}"
        for name in tracked()
        if name in ("__init__.py", "__main__.py") or name.split("/")[0] in PACKAGE
    }
    held = {name for name in wheel_names if ".dist-info/" not in name}
    assert held == expected | {"paraminspect/py.typed"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)


def test_the_installed_version_is_the_packages() -> None:
    try:
        installed = metadata.version("paraminspect")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert installed == paraminspect.__version__


def test_the_core_stays_light() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = text[text.index("dependencies = [") : text.index("[project.optional-dependencies]")]
    for heavy in ("torch", "numba", "scipy", "pandas", "matplotlib"):
        assert f'"{heavy}' not in core

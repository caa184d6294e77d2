"""What a wheel and a source distribution of this project hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import paraminspect
import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("readers", "inspector", "tui")
OLDEST_SETUPTOOLS = 77


def build(kind: str, source: Path, folder: Path) -> Path:
    """The file that the build backend writes, called in this environment and without network."""
    code = f"import sys\nfrom setuptools import build_meta\nbuild_meta.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [built] = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    return built


def files_in(wheel: Path) -> dict[str, str]:
    """Names in a wheel and their contents, the record of hashes left out."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name).decode() for name in archive.namelist() if not name.endswith("/RECORD")
        }


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Files of the checkout that are not ignored."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def source(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout as it is now, so that a build leaves nothing behind in it."""
    try:
        version = metadata.version("setuptools")
    except metadata.PackageNotFoundError:
        pytest.skip("setuptools is not installed")
    if int(version.split(".")[0]) < OLDEST_SETUPTOOLS:
        pytest.skip(f"setuptools {version} cannot build the project")
    folder = tmp_path_factory.mktemp("source") / "paraminspect"
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return files_in(build("wheel", source, tmp_path_factory.mktemp("wheel")))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: dict[str, str], tracked: list[str]) -> None:
    expected = {
        f"paraminspect/{name}"
        for name in tracked
        if name in ("__init__.py", "__main__.py", "py.typed")
        or (name.endswith(".py") and name.split("/")[0] in ROOMS)
    }
    assert {name for name in wheel if ".dist-info/" not in name} == expected
    assert {"paraminspect/py.typed", "paraminspect/readers/registry.py"} <= expected


def test_the_wheel_states_version_licence_and_command(wheel: dict[str, str]) -> None:
    about = f"paraminspect-{paraminspect.__version__}.dist-info"
    assert f"\nVersion: {paraminspect.__version__}\n" in wheel[f"{about}/METADATA"]
    assert "\nLicense-Expression: Apache-2.0\n" in wheel[f"{about}/METADATA"]
    assert wheel[f"{about}/licenses/LICENSE"] == (ROOT / "LICENSE").read_text(encoding="utf-8")
    points = wheel[f"{about}/entry_points.txt"].split()
    assert points == ["[console_scripts]", "paraminspect", "=", "paraminspect.inspector.commands:main"]


@pytest.fixture(scope="module")
def unpacked(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", source, folder)) as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            content = archive.extractfile(member)
            assert content is not None
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / member.name).write_bytes(content.read())
    return folder / f"paraminspect-{paraminspect.__version__}"


def test_the_source_distribution_holds_every_file(unpacked: Path, tracked: list[str]) -> None:
    made = {"PKG-INFO", "setup.cfg"}
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert {name for name in held - made if ".egg-info/" not in name} == {*tracked} - {".gitignore"}


def test_a_wheel_from_the_source_distribution_is_the_same(
    wheel: dict[str, str], unpacked: Path, tmp_path: Path
) -> None:
    assert files_in(build("wheel", unpacked, tmp_path)) == wheel


def test_the_installed_version_and_command_are_the_packages() -> None:
    try:
        installed = metadata.distribution("paraminspect")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert installed.version == paraminspect.__version__
    [point] = [point for point in installed.entry_points if point.group == "console_scripts"]
    assert point.name == "paraminspect"
    assert callable(point.load())


def test_the_core_stays_light() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = text[text.index("dependencies = [") : text.index("[project.optional-dependencies]")]
    for heavy in ("torch", "numba", "scipy", "pandas", "matplotlib"):
        assert f'"{heavy}' not in core

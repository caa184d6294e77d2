"""npz archives against numpy."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import paraminspect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paraminspect.readers.findings import Severity
from paraminspect.readers.limits import DEFAULT_LIMITS

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=8
)


@given(
    st.dictionaries(
        NAMES.filter(lambda name: name not in ("file", "allow_pickle")),
        st.tuples(
            st.sampled_from(["<f4", ">f8", "<i8", "|u1", "?"]), st.lists(st.integers(0, 3), max_size=3)
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_arrays_are_numpys(tmp_path: Path, arrays: dict[str, Any], deflated: bool) -> None:
    made = {
        name: np.arange(int(np.prod(shape))).astype(dtype).reshape(shape)
        for name, (dtype, shape) in arrays.items()
    }
    path = tmp_path / "a.npz"
    save: Any = np.savez_compressed if deflated else np.savez
    save(path, **made)
    with paraminspect.open(path) as checkpoint, np.load(path) as expected:
        assert checkpoint.format == "npz"
        assert checkpoint.parameters.names == expected.files
        for name in expected.files:
            ours = checkpoint.parameters[(name,)].numpy()
            np.testing.assert_array_equal(ours, expected[name])
            assert ours.shape == expected[name].shape


def test_one_bad_member_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = io.BytesIO()
    np.save(good, np.arange(3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.npy", good.getvalue())
        archive.writestr("bad.npy", b"no array")
        archive.writestr("cut.npy", good.getvalue()[:-4])
        archive.writestr("notes.txt", b"hello")
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.parameters.names == ["good", "bad", "cut"]
        assert checkpoint.parameters["good"].numpy().tolist() == [0, 1, 2]
        with pytest.raises(paraminspect.NoValues):
            checkpoint.parameters["bad"].numpy()
        found = [(one.code, one.severity, one.tensor) for one in checkpoint.findings]
        assert found == [
            ("npz-member", Severity.ERROR, "bad"),
            ("npz-member", Severity.ERROR, "cut"),
            ("npz-other-members", Severity.INFO, None),
        ]
        assert checkpoint.parameters.totals().elements == 3


def test_names_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = io.BytesIO()
    np.save(good, np.arange(3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.npy", good.getvalue())
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.parameters.names == ["../outside"]
        assert checkpoint.parameters[0].numpy().tolist() == [0, 1, 2]
        assert [one.code for one in checkpoint.findings] == ["zip-odd-names"]
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_bomb_is_listed_and_not_inflated(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, zeros=np.zeros(2**27, np.uint8))
    limits = DEFAULT_LIMITS.changed(inflate_ratio=100)
    with paraminspect.open(path, limits=limits) as checkpoint:
        tensor = checkpoint.parameters["zeros"]
        assert tensor.shape == (2**27,)
        with pytest.raises(paraminspect.LimitExceeded):
            for _ in tensor.blocks():
                pass
    with paraminspect.open(path, limits=DEFAULT_LIMITS.changed(inflate_ratio=10_000)) as checkpoint:
        assert sum(block.size for block in checkpoint.parameters["zeros"].blocks()) == 2**27


def test_objects_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, w=np.ones(2), extra=np.array({"lr": 0.5, "v": np.arange(4)}, dtype=object))
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.parameters.names == ["w", "extra", "extra.v"]
        assert checkpoint.hyperparameters == {"extra": {"lr": 0.5}}
        assert checkpoint.parameters["extra.v"].numpy().tolist() == [0, 1, 2, 3]
        assert checkpoint.parameters["w"].numpy().tolist() == [1, 1]


def test_an_npz_is_no_torch_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with path.open("wb") as file:
        np.savez(file, w=np.ones(2))
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.format == "npz"
        assert [one.code for one in checkpoint.findings] == ["wrong-suffix"]


def test_a_real_layout_of_many_small_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, *[np.full(3, number) for number in range(300)])
    with paraminspect.open(path) as checkpoint:
        assert checkpoint.parameters.names == [f"arr_{number}" for number in range(300)]
        assert checkpoint.parameters["arr_299"].numpy().tolist() == [299] * 3

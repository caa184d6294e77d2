"""What a pickle would import and call, told as facts."""

from __future__ import annotations

import pytest
from builders.pickle_builder import SYSTEM_CALL, called, interpret, named
from paraminspect.readers.entry import PickleImport
from paraminspect.readers.findings import Finding, Severity
from paraminspect.readers.pickle_report import findings_about, is_data_only, listed, runs_code
from paraminspect.readers.pickle_stream import PickleStream
from paraminspect.readers.torch_rebuild import is_tensor


def reported(stream: PickleStream, file: str, label: str = "") -> tuple[list[PickleImport], list[Finding]]:
    """The imports of one stream, and what is found about them."""
    imports = [PickleImport(*one, label) for one in stream.imports]
    return imports, findings_about(imports, file)


DATA = [
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "FloatStorage"),
    ("torch.storage", "UntypedStorage"),
    ("torch.cuda", "HalfStorage"),
    ("torch", "FloatTensor"),
    ("torch", "float32"),
    ("torch", "Size"),
    ("torch.nn.parameter", "Parameter"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.dtypes", "Float32DType"),
    ("builtins", "set"),
    ("__builtin__", "complex"),
    ("_codecs", "encode"),
]
RUNS = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("__builtin__", "apply"),
    ("builtins", "getattr"),
    ("builtins", "eval.__call__"),
    ("runpy", "run_path"),
    ("importlib", "import_module"),
    ("pkgutil", "resolve_name"),
    ("webbrowser", "open"),
    ("urllib.request", "urlopen"),
    ("logging.config", "dictConfig"),
    ("pickle", "loads"),
    ("pip", "main"),
    ("torch.serialization", "os.system"),
    ("collections", "OrderedDict.__init__.__globals__"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"),
    ("<computed>", "f"),
    ("m", "<computed>"),
    ("<extension registry>", "5"),
]
NEITHER = [
    ("mymodels", "Net"),
    ("torch.nn.modules.linear", "Linear"),
    ("torch", "EvilStorage"),
    ("torch", "EvilTensor"),
    ("torch.evil", "FloatStorage"),
    ("torch._utils", "evil"),
    ("torch.hub", "load"),
    ("sklearn.linear_model", "Ridge"),
    ("__main__", "Net.Inner"),
    ("builtins", "ValueError"),
]


@pytest.mark.parametrize(("module", "name"), DATA)
def test_constructors_of_data(module: str, name: str) -> None:
    assert is_data_only(module, name)


@pytest.mark.parametrize(("module", "name"), RUNS)
def test_names_that_run_code(module: str, name: str) -> None:
    assert runs_code(module, name)
    assert not is_data_only(module, name)


@pytest.mark.parametrize(("module", "name"), NEITHER)
def test_names_that_are_neither(module: str, name: str) -> None:
    assert not is_data_only(module, name)
    assert not runs_code(module, name)


@pytest.mark.parametrize("module", ["torch", "torch._utils", "collections", "numpy"])
def test_attributes_of_data_are_no_data(module: str) -> None:
    for data_module, name in DATA:
        if data_module == module:
            assert not is_data_only(module, name + ".attribute")


def test_findings_of_a_stream() -> None:
    stream = interpret(
        b"(" + called("collections", "OrderedDict") + called("my", "Net") + SYSTEM_CALL + b"l."
    )
    imports, findings = reported(stream, "model.pkl")
    assert [(one.module, one.name, one.called) for one in imports] == [
        ("collections", "OrderedDict", True),
        ("my", "Net", True),
        ("posix", "system", True),
    ]
    assert [(one.code, one.severity, one.path) for one in findings] == [
        ("pickle-runs-code", Severity.WARNING, "model.pkl"),
        ("pickle-imports", Severity.INFO, "model.pkl"),
    ]
    assert findings[0].offset == imports[2].offset
    assert findings[1].offset == imports[1].offset


def test_a_name_that_is_not_called() -> None:
    imports, findings = reported(interpret(named("os", "system") + b"."), "model.pkl")
    assert [one.called for one in imports] == [False]
    assert [one.code for one in findings] == ["pickle-runs-code"]


def test_offsets_in_members_are_no_offsets_in_the_file() -> None:
    imports, findings = reported(interpret(SYSTEM_CALL + b"."), "model.pt", "archive/data.pkl")
    assert imports[0].stream == "archive/data.pkl"
    assert findings[0].offset is None


def test_types_of_a_script_are_no_imports() -> None:
    one = PickleImport("__torch__.models", "Net", 0, True)
    assert [finding.code for finding in findings_about([one], "model.pt")] == ["pickle-imports"]
    assert findings_about([one], "model.pt", is_script=True) == []


def test_long_lists_are_cut() -> None:
    imports = [PickleImport("my", f"Class{number}", number, False) for number in range(20)]
    assert listed(imports[:2]) == "my.Class0, my.Class1"
    assert listed(imports).endswith("my.Class7 and 12 more")
    (finding,) = findings_about(imports, "model.pkl")
    assert "12 more" in finding.message


def test_nothing_is_called_safe() -> None:
    for imports in ([], [PickleImport("os", "system", 0, True)], [PickleImport("my", "Net", 0, True)]):
        assert not any("safe" in finding.message for finding in findings_about(imports, "x"))


def test_every_name_that_makes_a_tensor_is_data() -> None:
    """What is read as a tensor is not told as an import as well."""
    for module, name in DATA:
        record = interpret(called(module, name) + b".").root
        if is_tensor(record):
            assert is_data_only(module, name)

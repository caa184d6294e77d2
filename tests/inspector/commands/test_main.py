"""The command line in this process: what is printed where, and the exit status."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import report_samples as samples
from builders.made_up import Row, checkpoint_of, transformer
from paraminspect.inspector.commands import VERBS, main, models
from paraminspect.readers import Checkpoint, Finding, Limits, ParamInspectError, Severity, Truncated

Opened = list[tuple[str, Limits, bool]]


@pytest.fixture(autouse=True)
def no_terminal_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "PARAMINSPECT_DEBUG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Replaces opening by made-up checkpoints: by location, the sample of that name or a small one."""
    calls: Opened = []

    def open_made_up(location: str, *, limits: Limits, follow_links: bool) -> Checkpoint:
        calls.append((location, limits, follow_links))
        if location.startswith("broken"):
            raise Truncated("truncated", "it ends too early", path=location, offset=12, advice="copy again")
        if location == "incomplete":
            finding = Finding("missing-shard", Severity.ERROR, "a shard is missing")
            return checkpoint_of([Row("a", (1,))], location=location, findings=[finding])
        if location == "warned":
            finding = Finding("odd", Severity.WARNING, "odd")
            return checkpoint_of([Row("a", (1,))], location=location, findings=[finding])
        if location == "bug":
            raise RuntimeError("\x1b[31mred\nline")
        if location == "interrupt":
            raise KeyboardInterrupt
        return samples.CHECKPOINTS.get(location, samples.decoder)()

    monkeypatch.setattr(models, "open_checkpoint", open_made_up)
    return calls


Output = pytest.CaptureFixture[str]


def test_a_lone_path_is_shown(opened: Opened, capsys: Output) -> None:
    assert main(["decoder"]) == 0
    alone = capsys.readouterr()
    assert main(["show", "decoder"]) == 0
    assert capsys.readouterr() == alone
    assert alone.out.startswith("models/decoder.bin\n")
    assert alone.err == ""


def test_a_path_with_options_is_shown_too(opened: Opened, capsys: Output) -> None:
    assert main(["decoder", "--depth", "1"]) == 0
    assert main(["--depth", "1", "decoder"]) == 0
    first, second = capsys.readouterr().out.split("models/decoder.bin\n")[1:]
    assert first == second
    assert "self_attn" not in first.split("Largest")[0]


def test_several_models_are_shown_in_turn(opened: Opened, capsys: Output) -> None:
    assert main(["decoder", "training"]) == 0
    out = capsys.readouterr().out
    assert out.index("models/decoder.bin") < out.index("runs/last.ckpt")
    assert [location for location, _, _ in opened] == ["decoder", "training"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_verb_has_help_with_examples(verb: str, flag: str, capsys: Output) -> None:
    assert main([verb, flag]) == 0
    out = capsys.readouterr().out
    assert "Examples:" in out
    assert f"paraminspect {verb if verb != 'show' else 'model'}" in out
    assert main(["decoder", flag]) == 0


def test_the_examples_in_the_help_can_be_typed(opened: Opened, capsys: Output, tmp_path: Path) -> None:
    import shlex

    for verb in VERBS:
        main([verb, "--help"])
        lines = capsys.readouterr().out.split("Examples:\n")[1].strip().splitlines()
        for line in lines:
            arguments = shlex.split(line)[1:]
            if "-o" in arguments:
                arguments[arguments.index("-o") + 1] = str(tmp_path / "out")
            assert main(arguments) == 0, line


def test_no_arguments_print_the_help_and_do_not_succeed(capsys: Output) -> None:
    assert main([]) == 2
    assert "Usage: paraminspect" in capsys.readouterr().out


def test_version(capsys: Output) -> None:
    import paraminspect

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"paraminspect {paraminspect.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("model", "status"), [("warned", 0), ("incomplete", 2), ("broken", 2)])
def test_status(opened: Opened, verb: str, model: str, status: int) -> None:
    assert main([verb, model]) == status


def test_one_broken_model_of_several_fails_the_call_and_hides_nothing(opened: Opened, capsys: Output) -> None:
    assert main(["decoder", "broken\x1b[31m", "training"]) == 2
    found = capsys.readouterr()
    assert "models/decoder.bin" in found.out and "runs/last.ckpt" in found.out
    assert found.err == (
        "paraminspect: broken\\x1b[31m: byte 12: it ends too early (copy again) [truncated]\n"
    )


def test_json_tells_failures_in_the_document(opened: Opened, capsys: Output) -> None:
    assert main(["broken", "decoder", "--format", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [model["location"] for model in found["models"]] == ["models/decoder.bin"]
    assert found["failures"] == [
        {
            "location": "broken",
            "code": "truncated",
            "cause": "it ends too early",
            "path": "broken",
            "offset": 12,
            "advice": "copy again",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ls", "decoder", "--sort", "nbyte"], "no column 'nbyte'; did you mean 'nbytes'?"),
        (["ls", "decoder", "--columns", "name,shap"], "did you mean 'shape'?"),
        (["ls", "decoder", "--group", "dtyp"], "did you mean 'dtype'?"),
        (["ls", "decoder", "--group", "1", "--sort", "shape"], "groups cannot be sorted by 'shape'"),
        (["ls", "decoder", "--sort", "key"], "tensors cannot be sorted by 'key'"),
        (["ls", "decoder", "--section", "optimiser"], "optimizer"),
        (["decoder", "--depht", "1"], "--depth"),
        (["decoder", "--depth", "-1"], "--depth"),
        (["decoder", "--format", "yaml"], "yaml"),
        (["decoder", "--limit", "header=1"], "did you mean 'header_bytes'?"),
        (["decoder", "--limit", "shards"], "not NAME=VALUE"),
        (["decoder", "--limit", "header_bytes=-1"], "5000 or 200MB"),
        (["decoder", "--limit", "seconds=2MB"], "30s or 5min"),
        (["show"], "MODEL"),
    ],
)
def test_a_mistake_gets_one_line_and_status_2(
    opened: Opened, capsys: Output, arguments: list[str], told: str
) -> None:
    assert main(arguments) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert told in found.err


def test_limits_and_links_reach_the_reader(opened: Opened) -> None:
    options = ["--limit", "header_bytes=64KiB", "--limit", "index-bytes=2MB", "--limit", "seconds=1.5min"]
    assert main(["decoder", *options, "--no-follow"]) == 0
    _, limits, follow_links = opened[-1]
    assert (limits.header_bytes, limits.index_bytes, limits.seconds) == (65_536, 2_000_000, 90.0)
    assert limits.shards == Limits().shards
    assert follow_links is False
    main(["decoder"])
    assert opened[-1][1:] == (Limits(), True)


def test_a_missing_file_is_told_with_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(["Modle.safetensors"]) == 2
    assert "(did you mean model.safetensors?)" in capsys.readouterr().err
    assert main([str(tmp_path / "model.safetensor")]) == 2
    assert f"(did you mean {tmp_path / 'model.safetensors'}?)" in capsys.readouterr().err
    assert main(["memoyr"]) == 2
    assert "(did you mean memory?)" in capsys.readouterr().err


def test_an_unexpected_error_gets_one_line(
    opened: Opened, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["bug"]) == 2
    found = capsys.readouterr().err
    assert found == (
        "paraminspect: unexpected RuntimeError: \\x1b[31mred\\nline "
        "(this is a bug; PARAMINSPECT_DEBUG=1 shows where)\n"
    )
    monkeypatch.setenv("PARAMINSPECT_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main(["bug"])


@pytest.mark.parametrize("arguments", [["interrupt"], ["ls", "interrupt"]])
def test_interrupted(opened: Opened, capsys: Output, arguments: list[str]) -> None:
    assert main(arguments) == 130
    assert capsys.readouterr().err == "paraminspect: interrupted\n"


# --- ls ---


def names(capsys: Output) -> list[str]:
    (model,) = json.loads(capsys.readouterr().out)["models"]
    return [row[0] for row in model["rows"]]


def test_ls_filters_sorts_and_limits(opened: Opened, capsys: Output) -> None:
    options = ["--format", "json", "--sort", "nbytes", "--descending", "--limit-rows", "2"]
    assert main(["ls", "decoder", "--match", "*layers.1.*", "--match", "*.0.*", *options]) == 0
    assert names(capsys) == ["model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.down_proj.weight"]
    assert main(["ls", "training", "--section", "model", "--section", "buffer", "--format", "json"]) == 0
    assert names(capsys) == ["model.fc.weight", "model.fc.bias", "model.bn.running_mean"]
    assert main(["ls", "decoder", "--dtype", "f32", "--format", "json", "--limit-rows", "1"]) == 0
    assert names(capsys) == ["model.layers.0.input_layernorm.weight"]


def test_ls_groups(opened: Opened, capsys: Output) -> None:
    assert main(["ls", "training", "--group", "section", "--format", "json"]) == 0
    assert names(capsys) == ["model", "buffer", "optimizer"]
    assert main(["ls", "training", "--group", "1", "--format", "json"]) == 0
    assert names(capsys) == ["model", "optimizer"]


def test_ls_says_when_nothing_matches(opened: Opened, capsys: Output) -> None:
    assert main(["ls", "decoder", "--dtype", "bf61"]) == 0
    assert "no tensor matches; its dtypes are bf16, f32" in capsys.readouterr().err
    assert main(["ls", "decoder", "--match", "nothing"]) == 0
    assert capsys.readouterr().err == "paraminspect: models/decoder.bin: no tensor matches\n"


def test_ls_all_columns(opened: Opened, capsys: Output) -> None:
    assert main(["ls", "decoder", "--columns", "all", "--format", "csv"]) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert header.startswith("model,name,section,role,") and header.endswith("parameters_basis")


# --- the place of output ---


def test_output_goes_to_a_file_and_nothing_else_is_left(
    opened: Opened, capsys: Output, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o640)
    assert main(["decoder", "--format", "json", "-o", str(path)]) == 0
    assert json.loads(path.read_text())["schema"] == "paraminspect/show/1"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]
    assert capsys.readouterr().out == ""


def test_a_report_that_fails_midway_leaves_the_old_file(
    opened: Opened, capsys: Output, tmp_path: Path
) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    for last in ("bug", "interrupt"):
        assert main(["decoder", last, "-o", str(path)]) != 0
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


def test_no_report_leaves_the_old_file(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    assert main(["broken", "-o", str(path)]) == 2
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed_and_a_device_is_not_replaced(opened: Opened, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    assert main(["decoder", "-o", str(link)]) == 0
    assert link.is_symlink() and target.read_text().startswith("models/decoder.bin")
    assert main(["decoder", "-o", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()


def test_the_model_itself_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, tmp_path: Path
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    monkeypatch.setattr(
        models, "open_checkpoint", lambda *_args, **_options: checkpoint_of([], location=str(path))
    )
    assert main([str(path), "-o", str(path)]) == 2
    assert path.read_bytes() == b"weights"
    assert "choose another name" in capsys.readouterr().err


def test_a_folder_that_is_missing_gets_one_line(opened: Opened, capsys: Output, tmp_path: Path) -> None:
    assert main(["decoder", "-o", str(tmp_path / "no" / "out")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "option", "coloured"),
    [
        ({}, None, True),
        ({"NO_COLOR": "1"}, None, False),
        ({"NO_COLOR": ""}, None, True),
        ({"TERM": "dumb"}, None, False),
        ({"NO_COLOR": "1"}, "always", True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, None, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, None, False),
        ({}, "never", False),
    ],
)
def test_colour_on_a_terminal(
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    option: str | None,
    coloured: bool,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["decoder", *(["--color", option] if option else [])]) == 0
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_no_colour_into_a_pipe_unless_forced(
    opened: Opened, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["decoder"])
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["decoder"])
    assert "\x1b[1m" in capsys.readouterr().out


def test_ascii_terminals_get_ascii(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    for format_name in ("text", "markdown", "csv", "json"):
        assert main(["evil", "--format", format_name]) == 2
    assert raw.getvalue().isascii()


def test_a_full_disk_is_told_in_one_line(
    opened: Opened, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert main(["decoder"]) == 2
    assert capsys.readouterr().err == (
        "paraminspect: cannot write to standard output: No space left on device\n"
    )


def test_names_of_a_megabyte(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    rows = [Row("n" * 1_000_000, (1,)), Row("a." * 500_000, (1,)), *transformer(blocks=1)]
    monkeypatch.setattr(models, "open_checkpoint", lambda *_args, **_options: checkpoint_of(rows))
    monkeypatch.setenv("COLUMNS", "80")
    for verb in VERBS:
        assert main([verb, "x"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_errors_of_a_reader_that_come_late_are_told_too(
    opened: Opened, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object, **_options: object) -> None:
        raise ParamInspectError("odd", "it cannot be counted", path="x")

    make: Callable[..., object] = fails
    monkeypatch.setattr("paraminspect.inspector.commands.show.summarize", make)
    assert main(["decoder"]) == 2
    assert capsys.readouterr().err == "paraminspect: x: it cannot be counted [odd]\n"


def test_standard_output_closed_before_the_start(tmp_path: Path) -> None:
    model = tmp_path / "model.npy"
    np.save(model, np.zeros(2))
    command = f'"{sys.executable}" -m paraminspect "{model}" >&-'
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "standard output is closed" in done.stderr

"""Markdown that shows a file's text and obeys none of it."""

from __future__ import annotations

import io
import re

from builders import report_samples as samples
from paraminspect.inspector.reports.blocks import (
    Block,
    Column,
    Document,
    Look,
    Remark,
    Remarks,
    Report,
    Rows,
    Table,
    Title,
)
from paraminspect.inspector.reports.markdown import _escaped, write


def markdown(*blocks: Block) -> str:
    stream = io.StringIO()
    report = Report({}, lambda: blocks, lambda: Rows((), ()))
    write(Document("x", [report], []), stream, Look())
    return stream.getvalue()


def test_a_pipe_in_a_name_does_not_end_the_cell() -> None:
    text = markdown(Table([Column("name", code=True), Column("text")], [["a|b", "c|d"]]))
    row = text.splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_backticks_in_a_name_do_not_end_the_code() -> None:
    assert "```a``b```" in markdown(Table([Column("name", code=True)], [["a``b"]]))
    assert "`` `a ``" in markdown(Title("`a", ""))


def test_links_html_and_emphasis_are_shown_not_made() -> None:
    text = markdown(Remarks([Remark("", "<img src=x> [a](http://b) www.c.d *e* _f_ &amp; @g")]))
    assert text.strip() == (r"- &lt;img src=x> \[a\](http\://b) www\.c.d \*e\* \_f\_ &amp;amp; \@g")


def test_a_sentence_cannot_begin_a_list_or_heading() -> None:
    for start in ("# a", "- a", "+ a", "> a", "1. a"):
        assert f"- {start}" not in markdown(Remarks([Remark("", start)]))


def test_failures_come_last() -> None:
    stream = io.StringIO()
    write(samples.document("show", "decoder", failures=(samples.FAILURE,)), stream, Look())
    assert stream.getvalue().endswith("- `gone\\|.bin`: there is no such file (`not-found`)\n")


def test_a_number_is_escaped_only_where_it_would_start_a_list() -> None:
    assert _escaped("1.24 MB") == "1.24 MB"
    assert _escaped("1. item") == r"1\. item"
    assert _escaped("2) item") == r"2\) item"

"""Amounts as people type them."""

from __future__ import annotations

import pytest
from paraminspect.inspector.commands.options import parsed_amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("5000", 5000),
        ("200MB", 200_000_000),
        ("200 mb", 200_000_000),
        ("64KiB", 65_536),
        ("1.5GB", 1_500_000_000),
        ("2GiB", 2 << 30),
        ("30s", None),
        ("-1", None),
        ("1e9", None),
        ("", None),
        ("MB", None),
        ("9" * 40, None),
        ("٣", None),
    ],
)
def test_bytes_and_counts(text: str, amount: int | None) -> None:
    assert parsed_amount(text, seconds=False) == amount


@pytest.mark.parametrize(
    ("text", "amount"), [("30s", 30), ("30", 30), ("5min", 300), ("1h", 3600), ("2MB", None)]
)
def test_seconds(text: str, amount: float | None) -> None:
    assert parsed_amount(text, seconds=True) == amount

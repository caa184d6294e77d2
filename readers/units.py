"""Numbers for people: decimal units, three significant digits, the unit always written."""

from __future__ import annotations

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_COUNT_UNITS = ("", "K", "M", "B", "T", "Q")


def format_bytes(count: int) -> str:
    """`5.48 GB`; units are powers of 1000, as file sizes on model hubs are given."""
    number, unit = _scaled(count, _BYTE_UNITS)
    return f"{number} {unit}"


def format_count(count: int) -> str:
    """`134.5M`: thousands K, millions M, billions B, trillions T; exact below 1000."""
    number, unit = _scaled(count, _COUNT_UNITS)
    return f"{number}{unit}"


def format_shape(shape: tuple[int, ...]) -> str:
    """`4096×11008`; a scalar (no dimensions) is `scalar`."""
    return "×".join(map(str, shape)) if shape else "scalar"


def _scaled(count: int, units: tuple[str, ...]) -> tuple[str, str]:
    """Integer arithmetic throughout: counts may exceed what a float holds."""
    power = 0
    scale = 1
    while count >= 1000 * scale and power < len(units) - 1:
        power += 1
        scale *= 1000
    if power == 0:
        return str(count), units[0]
    for digits in (2, 1, 0):
        step = 10**digits
        rounded = (2 * count * step + scale) // (2 * scale)
        if rounded < 1000 or digits == 0:
            break
    if rounded >= 1000 * step and power < len(units) - 1:
        return "1.00", units[power + 1]
    whole, fraction = divmod(rounded, step)
    return (f"{whole}.{fraction:0{digits}d}" if digits else str(whole)), units[power]

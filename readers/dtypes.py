"""Element types: one row a type, whatever the container calls it."""

from __future__ import annotations

from typing import Final, Literal

Kind = Literal["float", "complex", "int", "uint", "bool", "quantized", "opaque"]


class DType:
    """How one element is stored.

    Attributes:
        name: the name used by numpy, ml_dtypes and torch: `bfloat16`, `float8_e4m3fn`.
        label: the short form for tables: `bf16`, `f8_e4m3`.
        bits: bits of one logical element; 0 where an element has no fixed size.
        kind: what the bits mean. `quantized`: integer codes with a scale kept outside the data.
            `opaque`: bytes whose meaning the file does not tell (void, text, records).
        carrier: numpy type, without byte order, that holds the stored bits of one element (or, for
            sub-byte types, one byte of them); None where numpy has no such type.
    """

    __slots__ = ("bits", "carrier", "kind", "label", "name")

    def __init__(self, name: str, label: str, bits: int, kind: Kind, carrier: str | None) -> None:
        self.name: Final = name
        self.label: Final = label
        self.bits: Final = bits
        self.kind: Final = kind
        self.carrier: Final = carrier

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, DType) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"DType({self.name!r}, {self.label!r}, {self.bits}, {self.kind!r}, {self.carrier!r})"

    @property
    def is_packed(self) -> bool:
        """Several elements share a byte (or a few bytes)."""
        return 0 < self.bits < 8 or self.bits % 8 != 0

    def span(self, elements: int) -> int:
        """Bytes that `elements` values take, rounded up to whole bytes."""
        return (elements * self.bits + 7) // 8

    def __str__(self) -> str:
        return self.name


def _row(name: str, label: str, bits: int, kind: Kind, carrier: str | None) -> DType:
    return DType(name, label, bits, kind, carrier)


_ROWS: Final = (
    _row("bool", "bool", 8, "bool", "u1"),
    *(_row(f"uint{bits}", f"u{bits}", bits, "uint", f"u{bits // 8}") for bits in (8, 16, 32, 64)),
    *(_row(f"int{bits}", f"i{bits}", bits, "int", f"i{bits // 8}") for bits in (8, 16, 32, 64)),
    *(_row(f"uint{bits}", f"u{bits}", bits, "uint", "u1") for bits in range(1, 8)),
    *(_row(f"int{bits}", f"i{bits}", bits, "int", "u1") for bits in range(1, 8)),
    _row("float16", "f16", 16, "float", "f2"),
    _row("float32", "f32", 32, "float", "f4"),
    _row("float64", "f64", 64, "float", "f8"),
    _row("float128", "f128", 128, "float", "f16"),
    _row("bfloat16", "bf16", 16, "float", "u2"),
    _row("float8_e3m4", "f8_e3m4", 8, "float", "u1"),
    _row("float8_e4m3", "f8_e4m3_ieee", 8, "float", "u1"),
    _row("float8_e4m3fn", "f8_e4m3", 8, "float", "u1"),
    _row("float8_e4m3fnuz", "f8_e4m3fnuz", 8, "float", "u1"),
    _row("float8_e4m3b11fnuz", "f8_e4m3b11fnuz", 8, "float", "u1"),
    _row("float8_e5m2", "f8_e5m2", 8, "float", "u1"),
    _row("float8_e5m2fnuz", "f8_e5m2fnuz", 8, "float", "u1"),
    _row("float8_e8m0fnu", "f8_e8m0", 8, "float", "u1"),
    _row("float6_e2m3fn", "f6_e2m3", 6, "float", "u1"),
    _row("float6_e3m2fn", "f6_e3m2", 6, "float", "u1"),
    _row("float4_e2m1fn", "f4", 4, "float", "u1"),
    _row("complex32", "c32", 32, "complex", "u4"),
    _row("complex64", "c64", 64, "complex", "c8"),
    _row("complex128", "c128", 128, "complex", "c16"),
    _row("complex256", "c256", 256, "complex", "c32"),
    _row("qint8", "qi8", 8, "quantized", "i1"),
    _row("quint8", "qu8", 8, "quantized", "u1"),
    _row("qint32", "qi32", 32, "quantized", "i4"),
    _row("quint4x2", "qu4", 4, "quantized", "u1"),
    _row("quint2x4", "qu2", 2, "quantized", "u1"),
    _row("bits8", "bits8", 8, "opaque", "u1"),
    _row("bits16", "bits16", 16, "opaque", "u2"),
    _row("bits1x8", "bits1x8", 8, "opaque", "u1"),
    _row("bits2x4", "bits2x4", 8, "opaque", "u1"),
    _row("bits4x2", "bits4x2", 8, "opaque", "u1"),
)

DTYPES: Final[dict[str, DType]] = {row.name: row for row in _ROWS}
"""Every type with a fixed meaning, by canonical name."""


def opaque(name: str, bits: int, label: str | None = None) -> DType:
    """A type whose bits this program does not interpret: `void2`, `record12`, `str40`."""
    carrier = f"V{bits // 8}" if bits and bits % 8 == 0 else None
    return DType(name, label or name, bits, "opaque", carrier)

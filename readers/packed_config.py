"""What a config beside the weights states about their bit width; values of any kind are welcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

CODE_BITS: Final = (2, 3, 4, 5, 6, 8)
"""Bit widths that integer codes have in the packed layouts this program counts."""

_PATTERN_RULES: Final = ("dynamic",)
"""Entries whose patterns may change the stated width for some layers."""


class Stated(NamedTuple):
    """What the config says about one layer."""

    bits: int | None
    group_size: int | None

    @property
    def basis(self) -> str:
        """The phrase for a figure that follows from the bits."""
        return f"bits {self.bits} from config.json"


NOTHING_STATED: Final = Stated(None, None)


class QuantizationConfig:
    """A `quantization_config` (transformers), `quantization` (MLX) or nothing at all."""

    __slots__ = ("_config", "_default")

    def __init__(self, config: Mapping[str, object] | None) -> None:
        self._config: Mapping[str, object] = config if isinstance(config, Mapping) else {}
        self._default = _default(self._config)

    def method(self) -> str:
        """`quant_method` in lower case, or an empty text."""
        method = self._config.get("quant_method")
        return method.lower() if isinstance(method, str) else ""

    def text(self, key: str) -> str:
        """A text entry in lower case, or an empty text."""
        value = self._config.get(key)
        return value.lower() if isinstance(value, str) else ""

    def for_layer(self, layer: str) -> Stated:
        """Bits and group size of a layer, by its name without `.weight`: its own entry where there is
        one, else the default.
        """
        own = self._config.get(layer)
        extra = self._config.get("extra_config")
        if not isinstance(own, Mapping) and isinstance(extra, Mapping):
            own = extra.get(layer)
        if not isinstance(own, Mapping):
            return self._default
        bits = _bits(own.get("bits")) if "bits" in own else self._default.bits
        group_size = _positive(own.get("group_size")) if "group_size" in own else self._default.group_size
        return Stated(bits, group_size)


def _default(config: Mapping[str, object]) -> Stated:
    if any(config.get(key) for key in _PATTERN_RULES):
        # Rules with patterns: which layer they change is not worked out here (a pattern from a file is
        # never run), so the default is no statement about any one layer.
        return NOTHING_STATED
    bits = next((_bits(config[key]) for key in ("bits", "w_bit", "wbits") if key in config), None)
    group_size = next(
        (_positive(config[key]) for key in ("group_size", "q_group_size") if key in config), None
    )
    if bits is None:
        bits = _bits_of_groups(config.get("config_groups"))
    return Stated(bits, group_size)


def _bits_of_groups(groups: object) -> int | None:
    """compressed-tensors: the width that all groups share, or None."""
    if not isinstance(groups, Mapping):
        return None
    widths: set[int | None] = set()
    for group in groups.values():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            widths.add(_bits(weights.get("num_bits")))
    return widths.pop() if len(widths) == 1 else None


def _bits(value: object) -> int | None:
    return value if type(value) is int and value in CODE_BITS else None


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None

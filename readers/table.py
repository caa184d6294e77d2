"""ParameterTable: one row a named tensor, whatever the container."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any, Final, NamedTuple, SupportsIndex, overload

from .columns import Path
from .errors import MissingExtra
from .named_tensor import NamedTensor
from .ordering import sort_keys
from .sections import Section
from .table_columns import TableColumns
from .units import format_bytes, format_count, format_shape
from .untrusted import printable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

COLUMN_NAMES: Final = (
    "name",
    "section",
    "role",
    "dtype",
    "shape",
    "elements",
    "parameters",
    "nbytes",
    "storage",
    "shared",
    "trainable",
    "owner",
    "file",
)
"""The columns that `column`, `sort` and `group` accept."""

INFERRED_COLUMNS: Final = frozenset({"role"})
"""Columns that are always guesses from names and shapes."""

_REPR_ROWS: Final = 10


class Totals(NamedTuple):
    """Sums over a table; bytes used by several tensors are counted once."""

    tensors: int
    elements: int
    parameters: int
    nbytes: int
    repeated_nbytes: int
    """Bytes of tensors that another tensor had already accounted for (tied weights, views)."""


class Group(NamedTuple):
    """Rows that share a key."""

    key: str
    table: ParameterTable

    @property
    def totals(self) -> Totals:
        """Sums over the group's rows."""
        return self.table.totals()


class ParameterTable(TableColumns):
    """A checkpoint's tensors as columns.

    Iterating yields one `NamedTensor` a row; `table["layer.weight"]` and `table[3]` give one row, a
    slice gives a smaller table. For large tables use the columns: `table.column("nbytes")` is a numpy
    array and `filter`, `sort` and `group` work on whole columns.
    """

    def __iter__(self) -> Iterator[NamedTensor]:
        return (NamedTensor(self, row) for row in range(len(self)))

    def __contains__(self, key: object) -> bool:
        return key in self._row_of_name or key in self._row_of_path

    @overload
    def __getitem__(self, key: str | SupportsIndex | Path) -> NamedTensor: ...

    @overload
    def __getitem__(self, key: slice) -> ParameterTable: ...

    def __getitem__(self, key: str | SupportsIndex | slice | Path) -> NamedTensor | ParameterTable:
        """A row by display name, by stored path or by number; a slice gives a table."""
        if isinstance(key, slice):
            return self.take(range(len(self))[key])
        if not isinstance(key, (str, tuple)):
            number = index(key)
            if not -len(self) <= number < len(self):
                raise IndexError(f"row {number:,} of a table of {len(self):,}")
            return NamedTensor(self, number % len(self))
        row = self._row_of_name.get(key) if isinstance(key, str) else self._row_of_path.get(key)
        if row is None:
            raise KeyError(self._not_found(key))
        return NamedTensor(self, row)

    # --- whole-table operations ---

    def column(self, name: str) -> NDArray[Any]:
        """One column as a numpy array: integers as int64 (object where a claimed count is beyond it),
        everything else as objects.

        Raises:
            KeyError: there is no such column; the message lists them.
        """
        import numpy as np

        values = self.values_of(name)
        if name in ("elements", "parameters", "nbytes", "storage", "file"):
            try:
                return np.array(values, dtype=np.int64)
            except OverflowError:
                pass
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array

    def values_of(self, name: str) -> list[Any]:
        """One column as a Python list, without numpy.

        Raises:
            KeyError: there is no such column; the message lists them.
        """
        if name not in _COLUMN_LISTS:
            raise KeyError(f"no column {name!r}; there are {', '.join(COLUMN_NAMES)}")
        return _COLUMN_LISTS[name](self)

    def filter(
        self,
        match: str | Sequence[str] | None = None,
        *,
        section: str | Sequence[str] | None = None,
        dtype: str | Sequence[str] | None = None,
        where: Callable[[ParameterTable], Sequence[bool] | NDArray[np.bool_]] | None = None,
    ) -> ParameterTable:
        """The rows that meet every condition given.

        Args:
            match: glob (or several, of which one must match) on the whole display name; `*` also
                crosses dots.
            section: section name or names.
            dtype: dtype name or names, canonical or short (`bfloat16` or `bf16`).
            where: function from this table to one boolean a row, e.g.
                `lambda t: t.column("nbytes") > 1e6`.

        Raises:
            ValueError: there is no such section, or `where` does not answer for every row.
        """
        rows: Sequence[int] = range(len(self))
        if match is not None:
            pattern = _any_glob(_as_tuple(match))
            names = self.names
            rows = [row for row in rows if pattern(names[row])]
        if section is not None:
            sections, wanted_sections = self.sections, frozenset(map(Section, _as_tuple(section)))
            rows = [row for row in rows if sections[row] in wanted_sections]
        if dtype is not None:
            dtypes, wanted = self.dtypes, frozenset(_as_tuple(dtype))
            rows = [row for row in rows if dtypes[row].name in wanted or dtypes[row].label in wanted]
        if where is not None:
            keep = where(self)
            if len(keep) != len(self):
                raise ValueError(f"`where` gave {len(keep):,} answers for {len(self):,} rows")
            rows = [row for row in rows if keep[row]]
        return self.take(rows)

    def take(self, rows: Sequence[int]) -> ParameterTable:
        """The rows of these numbers, in this order."""
        base = rows if self._rows is None else [self._rows[row] for row in rows]
        taken = ParameterTable(self._columns, base)
        # Logical counts look at neighbouring tensors, so they are those of the whole table.
        taken.__dict__["_logical_counts"] = self._logical_counts
        return taken

    def sort(self, by: str, *, descending: bool = False) -> ParameterTable:
        """The same rows ordered by a column; rows that compare equal keep their order. Names sort
        naturally: `layers.2` before `layers.10`.
        """
        import numpy as np

        values = self.column(by)
        if values.dtype != object:
            order = np.argsort(-values if descending else values, kind="stable")
            return self.take(order.tolist())
        keys: Sequence[Any] = sort_keys(self.values_of(by))
        return self.take(sorted(range(len(self)), key=keys.__getitem__, reverse=descending))

    def group(self, by: str | int) -> list[Group]:
        """Rows put together by a column, or by the first `by` parts of their display names; groups come
        in the order of their first row.
        """
        keys = self._prefixes(by) if isinstance(by, int) else list(map(_key_text, self.values_of(by)))
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        return [Group(key, self.take(members)) for key, members in rows.items()]

    def totals(self) -> Totals:
        """Sums over all rows, with bytes that several tensors use counted once."""
        elements, parameters, nbytes = self.elements, self.parameters, self.nbytes
        own = self._own_nbytes
        sums = [sum(elements), sum(parameters), sum(nbytes)]
        repeated = 0
        for row, counted in own.items():
            missing = nbytes[row] - counted
            repeated += missing
            if nbytes[row]:
                sums[0] -= elements[row] * missing // nbytes[row]
                sums[1] -= parameters[row] * missing // nbytes[row]
        return Totals(len(self), sums[0], sums[1], sums[2] - repeated, repeated)

    def summary(self) -> str:
        """Tensors and parameters in a few words; parameters are those of the model where there is one."""
        model = self.filter(section=Section.MODEL)
        table, where = (model, " of the model") if 0 < len(model) < len(self) else (self, "")
        plural = "" if len(self) == 1 else "s"
        return f"{len(self):,} tensor{plural}, {format_count(table.totals().parameters)} parameters{where}"

    # --- other libraries ---

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain columns: lists of strings, numbers, booleans and lists."""
        return {name: _plain_column(name, _COLUMN_LISTS[name](self)) for name in COLUMN_NAMES}

    def to_pandas(self) -> pd.DataFrame:
        """A pandas DataFrame of the plain columns; counts are exact (as objects beyond 64 bits), and names
        are valid UTF-8 (see `arrow.valid_text`).

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtra(
                "missing-pandas", "pandas is not installed", advice="pip install pandas"
            ) from None
        from .arrow import valid_text

        columns = self.to_dict()
        for name in ("name", "owner"):
            columns[name] = list(map(valid_text, columns[name]))
        return pd.DataFrame(columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow C stream of the table: polars, pyarrow, DuckDB and pandas take it directly.

        Raises:
            MissingExtra: the extra `arrow` is not installed.
        """
        from .arrow import arrow_stream

        return arrow_stream(self, requested_schema)

    def __repr__(self) -> str:
        head = f"<ParameterTable: {self.summary()}, {format_bytes(self.totals().nbytes)}>"
        shown = range(min(len(self), _REPR_ROWS))
        names = [printable(self.names[row], 60) for row in shown]
        width = max(map(len, names), default=0)
        lines = [
            f"  {name:<{width}}  {self.dtypes[row].label:<8} {format_shape(self.shapes[row])}"
            for name, row in zip(names, shown, strict=True)
        ]
        if len(self) > _REPR_ROWS:
            lines.append(f"  … {len(self) - _REPR_ROWS:,} more")
        return "\n".join([head, *lines])

    # --- inner workings ---

    @cached_property
    def _row_of_name(self) -> dict[str, int]:
        # Reversed, so that of two equal names the first row is the one found.
        return {name: row for row, name in zip(reversed(range(len(self))), reversed(self.names), strict=True)}

    @cached_property
    def _row_of_path(self) -> dict[Path, int]:
        return {self.path(row): row for row in reversed(range(len(self)))}

    def _prefixes(self, depth: int) -> list[str]:
        return [".".join(name.split(".", depth)[:depth]) for name in self.names]

    def _not_found(self, key: object) -> str:
        import difflib

        shown = key if isinstance(key, str) else repr(key)
        close = difflib.get_close_matches(shown, self.names[:10_000], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"no tensor {shown!r} among {len(self):,}{hint}"


_COLUMN_LISTS: Final[dict[str, Callable[[ParameterTable], list[Any]]]] = {
    "name": lambda table: table.names,
    "section": lambda table: table.sections,
    "role": lambda table: table.roles,
    "dtype": lambda table: table.dtypes,
    "shape": lambda table: table.shapes,
    "elements": lambda table: table.elements,
    "parameters": lambda table: table.parameters,
    "nbytes": lambda table: table.nbytes,
    "storage": lambda table: table.storages,
    "shared": lambda table: table.shared,
    "trainable": lambda table: table.trainable,
    "owner": lambda table: table.owners,
    "file": lambda table: table.files,
}


def _key_text(value: object) -> str:
    return format_shape(value) if isinstance(value, tuple) else str(value)


def _plain_column(name: str, values: list[Any]) -> list[Any]:
    if name == "shape":
        return list(map(list, values))
    if name in ("dtype", "section"):
        texts = {value: str(value) for value in set(values)}
        return [texts[value] for value in values]
    return list(values)


def _as_tuple(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _any_glob(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """A test of names; no pattern at all matches nothing."""
    if not patterns:
        return lambda _: False
    joined = "|".join(fnmatch.translate(pattern) for pattern in patterns)
    return re.compile(joined).match

"""What a training checkpoint says beside its tensors: settings, progress and descriptions."""

from __future__ import annotations

from dataclasses import dataclass, field

from .columns import Path
from .plain import PlainBudget, to_plain
from .sections import Section
from .training_state import is_description, is_progress


@dataclass(slots=True)
class Settings:
    """Sorts every value that is no tensor into its place."""

    metadata: dict[str, object] = field(default_factory=dict)
    hyperparameters: dict[str, object] = field(default_factory=dict)
    progress: dict[str, int | float] = field(default_factory=dict)
    _budget: PlainBudget = field(default_factory=PlainBudget)
    _optimizer_scalars: dict[Path, dict[str, list[int | float]]] = field(default_factory=dict)

    def keep(self, value: object, path: Path, section: Section | None) -> None:
        """Put one value where it belongs, under the parts of its path.

        Args:
            value: a record without tensors.
            path: its whole path, at least one part.
            section: the section of its surroundings, if known.
        """
        self.keep_plain(self.plain(value), path, section)

    def plain(self, value: object) -> object:
        """A record as plain data; one budget holds for all values of a file."""
        return to_plain(value, self._budget)

    def keep_plain(self, value: object, path: Path, section: Section | None) -> None:
        """The same for a value that is plain data already."""
        *outer, name = path
        if not outer and isinstance(name, str):
            if is_progress(name, value) and isinstance(value, (int, float)):
                self.progress[name] = value
                return
            if is_description(name, value):
                self.metadata[name] = value
                return
        if section is Section.OPTIMIZER and len(path) >= 3 and path[-3] == "state":
            self._keep_optimizer_scalar(value, path)
            return
        is_state = section is Section.OTHER and not _is_schedule(path)
        home = _inner(self.metadata if is_state else self.hyperparameters, outer)
        if home is not None:
            home[str(name)] = value

    def keep_module(self, path: Path, facts: dict[str, object]) -> None:
        """The class and sizes of one `nn.Module`."""
        modules = self.hyperparameters.setdefault("modules", {})
        if isinstance(modules, dict):
            modules[".".join(map(str, path))] = facts

    def finish(self) -> None:
        """Sum up what is the same for every parameter of an optimizer, such as its step."""
        for path, scalars in self._optimizer_scalars.items():
            home = _inner(self.hyperparameters, path or ("optimizer",))
            for name, values in scalars.items():
                low, high = min(values), max(values)
                if name == "step" and low == high:
                    self.progress.setdefault("optimizer_step", low)
                if home is not None:
                    home[f"state.{name}"] = low if low == high else {"min": low, "max": high}

    def _keep_optimizer_scalar(self, value: object, path: Path) -> None:
        if isinstance(value, (int, float)) and value == value:
            scalars = self._optimizer_scalars.setdefault(path[:-3], {})
            scalars.setdefault(str(path[-1]), []).append(value)


def _inner(home: dict[str, object], outer: list[str | int] | Path) -> dict[str, object] | None:
    """The nested dict under the parts of a path, made where missing; None where something else is in
    the way.
    """
    for part in outer:
        found = home.setdefault(str(part), {})
        if not isinstance(found, dict):
            return None
        home = found
    return home


def _is_schedule(path: Path) -> bool:
    word = str(path[0]).lower()
    return "scheduler" in word or "scaler" in word

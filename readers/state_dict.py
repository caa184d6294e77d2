"""The walker: from a graph of inert records to rows, settings and progress.

Tensors are found by the shape of the data, not by the class that wraps them: any mapping, sequence, module
or object on the way to a tensor is descended into.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from .columns import Columns, Path
from .columns_builder import ColumnsBuilder
from .findings import Finding, Severity
from .limits import Deadline
from .moments import OptimizerGroups, assign_owners, groups_of
from .record_graph import Pair, attributes, key_part, mapping_pairs, records_leading_to, sequence_items
from .records import Call, Global, PersistentId, TensorCall
from .sections import Section
from .settings import Settings
from .torch_rebuild import Geometry, Rebuilt
from .torch_storage import BadTensor, Storage
from .training_state import is_optimizer_state, section_of_key, section_of_tensor

MAX_DEPTH: Final = 200
"""Levels of nesting that are descended into; real checkpoints have about ten."""

MAX_REVISITS: Final = 100
"""Containers that may be listed again under another name (a dict saved twice is; a bomb is cut)."""

MAX_FAULTS_TOLD: Final = 100
"""Findings about single tensors before the rest is only counted."""


class TensorReader(Protocol):
    """How the walker's caller recognises and reads the records that are tensors."""

    def is_tensor(self, record: object) -> bool:
        """Whether a record describes a tensor or array; cheap."""
        ...

    def plan(self, call: TensorCall) -> tuple[Storage, Geometry] | None:
        """Storage and geometry of a flawless tensor of the usual form, else None."""
        ...

    def rebuild(self, record: object) -> Rebuilt:
        """Read it. Raises `BadTensor` when nothing can be told about it."""
        ...


@dataclass(slots=True)
class Walked:
    """What a graph of records holds."""

    columns: Columns
    metadata: dict[str, object]
    hyperparameters: dict[str, object]
    progress: dict[str, int | float]
    findings: list[Finding]


@dataclass(slots=True)
class _Visit:
    record: object
    path: Path
    section: Section | None


@dataclass(slots=True)
class _Leave:
    """Marks the way back out of a container."""

    record: object


@dataclass(slots=True)
class _Run:
    """Entries of a container that follow each other and are all tensors of the usual form."""

    entries: list[tuple[object, TensorCall]]
    path: Path
    section: Section | None


@dataclass(slots=True)
class Walker:
    """One walk over one graph; call `walk` once."""

    reader: TensorReader
    deadline: Deadline
    file: str
    builder: ColumnsBuilder = field(default_factory=ColumnsBuilder)
    settings: Settings = field(default_factory=Settings)
    findings: list[Finding] = field(default_factory=list)
    _pending: list[_Visit | _Run | _Leave] = field(default_factory=list)
    _inside: set[int] = field(default_factory=set)
    _seen: set[int] = field(default_factory=set)
    _revisits: int = 0
    _faults: int = 0
    _leading: set[int] = field(default_factory=set)
    _optimizers: list[OptimizerGroups] = field(default_factory=list)

    def walk(self, root: object, prefix: Path = (), section: Section | None = None) -> Walked:
        """List everything below `root`.

        Args:
            root: the object of a pickle.
            prefix: path parts put before every name.
            section: what everything belongs to, or None to let keys and names decide.
        """
        self._leading = records_leading_to(root, self.reader.is_tensor)
        if self.reader.is_tensor(root):
            self._add_tensor(_Visit(root, prefix or ("tensor",), section))
        else:
            self._visit_root(root, prefix, section)
        steps = 0
        while self._pending:
            visit = self._pending.pop()
            if isinstance(visit, _Leave):
                self._inside.discard(id(visit.record))
                continue
            if isinstance(visit, _Run):
                self._add_run(visit)
            else:
                self._descend(visit)
            steps += 1
            if steps & 0xFFFF == 0:
                self.deadline.check()
        if self._faults > MAX_FAULTS_TOLD:
            self._find(
                "tensors-unreadable", f"{self._faults - MAX_FAULTS_TOLD:,} more tensors are unreadable"
            )
        self.settings.finish()
        columns = self.builder.build()
        if self._optimizers:
            columns.owners = assign_owners(columns, self._optimizers)
            columns.optimizer_groups = tuple(self._optimizers)
        settings = self.settings
        return Walked(columns, settings.metadata, settings.hyperparameters, settings.progress, self.findings)

    def _visit_root(self, root: object, prefix: Path, section: Section | None) -> None:
        if is_optimizer_state(root):
            section = Section.OPTIMIZER
        if id(root) in self._leading or mapping_pairs(root) is not None:
            self._pending.append(_Visit(root, prefix, section))
        elif root is not None:
            self.settings.hyperparameters["object"] = self.settings.plain(root)

    def _descend(self, visit: _Visit) -> None:
        record = visit.record
        if self.reader.is_tensor(record):
            self._add_tensor(visit)
            return
        if not self._enter(visit):
            return
        self._pending.append(_Leave(record))
        first_new = len(self._pending)
        if _is_module(record):
            self._open_module(visit)
        else:
            self._open_container(visit)
        # The stack gives back the last first: names come out in the order they were stored.
        self._pending[first_new:] = reversed(self._pending[first_new:])

    def _enter(self, visit: _Visit) -> bool:
        """Whether a container may be descended into; if not, a finding says why."""
        identity = id(visit.record)
        if identity in self._inside:
            self._find("cycle", "an object contains itself: the repetition is not listed", visit.path)
            return False
        if len(visit.path) > MAX_DEPTH:
            self._find(
                "nesting-depth", f"what is nested deeper than {MAX_DEPTH} levels is not listed", visit.path
            )
            return False
        if identity in self._seen:
            self._revisits += 1
            if self._revisits > MAX_REVISITS:
                if self._revisits == MAX_REVISITS + 1:
                    self._find(
                        "repetition-limit",
                        f"containers used again more than {MAX_REVISITS:,} times are not listed again",
                        visit.path,
                    )
                return False
        self._seen.add(identity)
        self._inside.add(identity)
        return True

    def _open_container(self, visit: _Visit) -> None:
        record, path = visit.record, visit.path
        if is_optimizer_state(record):
            self._optimizers.append(groups_of(record, path))
        pairs = mapping_pairs(record)
        if pairs is not None:
            self._take_pairs(pairs, path, visit.section)
            self._keep_versions(record, path)
        for index, item in enumerate(sequence_items(record) or ()):
            self._take(item, path, index, visit.section)
        if isinstance(record, Call) and pairs is None:
            for index, item in enumerate(sequence_items(record.args) or ()):
                if id(item) in self._leading or self.reader.is_tensor(item):
                    self._take(item, path, index, visit.section)
        if isinstance(record, Call) and not _is_plain_mapping(record):
            self._open_attributes(record, visit)

    def _open_attributes(self, record: Call, visit: _Visit) -> None:
        pairs = attributes(record)
        for key, value in pairs:
            self._take(value, visit.path, key, visit.section)
        if not pairs and (id(record.state) in self._leading or self.reader.is_tensor(record.state)):
            for index, item in enumerate(sequence_items(record.state) or (record.state,)):
                self._take(item, visit.path, index, visit.section)

    def _open_module(self, visit: _Visit) -> None:
        """An `nn.Module`: parameters, buffers and children under the names a state dict would give."""
        assert isinstance(visit.record, Call)
        facts: dict[str, object] = {"class": _class_name(visit.record)}
        for key, value in attributes(visit.record):
            if key in ("_parameters", "_buffers"):
                section = Section.MODEL if key == "_parameters" else Section.BUFFER
                if visit.section in (Section.EMA, Section.OPTIMIZER, Section.OTHER):
                    section = visit.section  # a copy of the model is not the model
                for name, tensor in mapping_pairs(value) or ():
                    if self.reader.is_tensor(tensor):
                        self._pending.append(_Visit(tensor, (*visit.path, key_part(name)), section))
            elif key == "_modules":
                for name, module in mapping_pairs(value) or ():
                    if isinstance(module, Call):
                        self._pending.append(_Visit(module, (*visit.path, key_part(name)), visit.section))
            elif id(value) in self._leading or self.reader.is_tensor(value):
                # A tensor that is neither parameter nor buffer is no part of the state dict; what holds
                # tensors may be (quantised layers keep their weights in an object).
                home = Section.OTHER if self.reader.is_tensor(value) else visit.section
                self._pending.append(_Visit(value, (*visit.path, key_part(key)), home))
            elif isinstance(key, str) and _is_setting(key, value):
                facts[key] = self.settings.plain(value)
        self.settings.keep_module(visit.path, facts)

    def _take(self, value: object, path: Path, key: object, section: Section | None) -> None:
        """One entry of a container: on towards its tensors, or among the settings."""
        is_tensor = self.reader.is_tensor(value)
        if section is None:
            section = section_of_tensor(key) if is_tensor else section_of_key(key, value)
        part = key_part(key)
        if is_tensor or id(value) in self._leading:
            self._pending.append(_Visit(value, (*path, part), section))
        elif value is not None:
            self.settings.keep(value, (*path, part), section)

    def _take_pairs(self, pairs: list[Pair], path: Path, section: Section | None) -> None:
        """Entries of a mapping; tensors that follow each other are taken as one run."""
        run: list[tuple[object, TensorCall]] = []
        for key, value in pairs:
            if type(value) is TensorCall:
                run.append((key, value))
                continue
            if run:
                self._pending.append(_Run(run, path, section))
                run = []
            self._take(value, path, key, section)
        if run:
            self._pending.append(_Run(run, path, section))

    def _add_run(self, run: _Run) -> None:
        plan, add = self.reader.plan, self.builder.add_planned
        path, section = run.path, run.section
        for key, call in run.entries:
            part = key if type(key) is str else key_part(key)
            home = section_of_tensor(part) if section is None else section
            planned = plan(call)
            if planned is None:
                self._add_tensor(_Visit(call, (*path, part), home))
                continue
            storage, (offset, strides, measures) = planned
            ref = (storage.source, offset, storage.dtype, call.size, strides, storage.byteorder)
            trainable = call.requires_grad or None
            add((*path, part), ref, measures, storage.number, storage.start + offset, home, trainable)

    def _add_tensor(self, visit: _Visit) -> None:
        try:
            built = self.reader.rebuild(visit.record)
        except BadTensor as fault:
            self._tell_fault(fault, visit.path, "is not listed")
            return
        if built.fault is not None:
            self._tell_fault(built.fault, visit.path, "has no readable values")
        self.builder.add(
            visit.path,
            built.ref,
            storage=built.storage,
            start=built.start,
            section=visit.section,
            trainable=built.requires_grad if built.is_parameter or built.requires_grad else None,
            elements=0 if built.is_shell else None,
        )
        if len(visit.path) <= MAX_DEPTH:
            self._pending += [
                _Visit(record, (*visit.path, name), visit.section) for name, record in reversed(built.parts)
            ]

    def _keep_versions(self, record: object, path: Path) -> None:
        """A state dict carries the version of each module; worth showing where one is not 1."""
        for key, value in attributes(record):
            if key == "_metadata":
                versions = {
                    str(module): dict_of.get("version")
                    for module, facts in mapping_pairs(value) or ()
                    if isinstance(module, str) and (dict_of := dict(_text_pairs(facts)))
                }
                raised = {module: version for module, version in versions.items() if version not in (None, 1)}
                if raised:
                    name = ".".join([*map(str, path), "module_versions"])
                    self.settings.metadata[name] = raised

    def _tell_fault(self, fault: BadTensor, path: Path, consequence: str) -> None:
        self._faults += 1
        if self._faults <= MAX_FAULTS_TOLD:
            self._find(fault.code, f"this tensor {consequence}: {fault.message}", path)

    def _find(self, code: str, message: str, path: Path = ()) -> None:
        name = ".".join(map(str, path[:MAX_DEPTH])) if path else None
        self.findings.append(Finding(code, Severity.ERROR, message, self.file, tensor=name))


def _is_module(record: object) -> bool:
    if not isinstance(record, Call):
        return False
    keys = {key for key, _ in attributes(record) if isinstance(key, str)}
    return "_parameters" in keys and "_modules" in keys


def _is_plain_mapping(record: Call) -> bool:
    return isinstance(record.function, Global) and record.function.module in (
        "collections",
        "builtins",
        "__builtin__",
    )


def _class_name(record: Call) -> str:
    """The class of an object: what is called, or for `copyreg._reconstructor` its first argument. The
    legacy torch format hides it in a persistent id, `("module", class, file, source)`.
    """
    source = record.function
    if isinstance(source, Global) and source.module in ("copyreg", "copy_reg"):
        source = record.args[0] if isinstance(record.args, tuple) and record.args else source
    if isinstance(source, PersistentId) and isinstance(source.value, tuple) and len(source.value) == 4:
        source = source.value[1]
    return source.qualified if isinstance(source, Global) else "?"


def _is_setting(key: str, value: object) -> bool:
    """Attributes of a module that someone set: its sizes and switches, not its bookkeeping."""
    return not key.startswith("_") and isinstance(value, (int, float, str, bool, tuple)) and key != "training"


def _text_pairs(record: object) -> list[tuple[str, object]]:
    return [(key, value) for key, value in mapping_pairs(record) or () if isinstance(key, str)]

"""Read and write the document of operational settings; every fault at once, with its path."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, fields
from decimal import Decimal
from typing import Any

from common.operational.document import Document
from common.operational.kinds import Kind

LONGEST = 200_000  # characters of a document that is imported
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a document. path: such as `execution.poll_seconds`; "" is the whole."""

    path: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}: {self.sentence}" if self.path else self.sentence


class InvalidDocumentError(ValueError):
    """A document is refused as a whole; `faults` has everything that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Key:
    """One setting of the document."""

    group: str
    name: str
    kind: Kind
    sentence: str
    default: Any

    @property
    def path(self) -> str:
        """Return how it is named in a document."""
        return f"{self.group}.{self.name}"


def _keys() -> Iterator[Key]:
    defaults = Document()
    for of_group in fields(Document):
        values = getattr(defaults, of_group.name)
        for one in fields(of_group.metadata["group"]):
            kind, sentence = one.metadata["kind"], one.metadata["sentence"]
            yield Key(of_group.name, one.name, kind, sentence, getattr(values, one.name))


GROUPS: Mapping[str, Field[Any]] = {one.name: one for one in fields(Document)}
KEYS: Mapping[str, Key] = {key.path: key for key in _keys()}


def parse(text: str) -> Json:
    """Return the JSON object of a text. Numbers stay exact. Raises InvalidDocumentError."""
    if len(text) > LONGEST:
        raise InvalidDocumentError([Fault("", f"It has more than {LONGEST:,} characters.")])
    try:
        found = json.loads(
            text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_object
        )
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise InvalidDocumentError([Fault("", f"It is not valid JSON: {error}.")]) from None
    if not isinstance(found, dict):
        raise InvalidDocumentError([Fault("", "Expected a JSON object of groups of settings.")])
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} is there more than once")
    return found


def read(document: Mapping[str, Any], *, lease_seconds: int | None = None) -> Document:
    """Return the settings of a document; keys that it does not name have their defaults.

    lease_seconds: of this installation; None: pairs with it are not checked. Raises
    InvalidDocumentError with all unknown keys, wrong types and limits, and then all pairs.
    """
    faults: list[Fault] = []
    groups: dict[str, Any] = {}
    for name, given in document.items():
        of_group = GROUPS.get(name)
        if of_group is None:
            faults.append(_unknown(name, list(GROUPS)))
        elif not isinstance(given, Mapping):
            faults.append(Fault(name, f"Expected an object, got {_shown(given)}."))
        else:
            groups[name] = of_group.metadata["group"](**_values(name, given, faults))
    if faults:
        raise InvalidDocumentError(faults)
    found = Document(**groups)
    if faults := [*_pairs(found, lease_seconds)]:
        raise InvalidDocumentError(faults)
    return found


Check = Callable[[Document], Iterator[Fault]]
_checks: list[Check] = []


def register_check(check: Check) -> None:
    """Let an app above refuse what only it can judge, before a version is stored.

    A stored version is not checked so: what a later release does not know must not cost the rest.
    """
    if check not in _checks:
        _checks.append(check)


def further_faults(found: Document) -> list[Fault]:
    """Return what the registered checks find wrong with settings that are valid on their own."""
    return [fault for check in _checks for fault in check(found)]


def _values(group: str, given: Mapping[str, Any], faults: list[Fault]) -> Json:
    values: Json = {}
    for name, text in given.items():
        key = KEYS.get(f"{group}.{name}")
        if key is None:
            known = [key.name for key in KEYS.values() if key.group == group]
            faults.append(_unknown(f"{group}.{name}", known))
            continue
        try:
            values[name] = key.kind.read(text)
        except (ValueError, TypeError):
            faults.append(Fault(key.path, f"Expected {key.kind.expected}, got {_shown(text)}."))
    return values


def _unknown(path: str, known: list[str]) -> Fault:
    return Fault(path[:120], f"Unknown key; expected one of {', '.join(known)}.")


def _shown(given: Any) -> str:
    text = json.dumps(given, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _pairs(found: Document, lease_seconds: int | None) -> Iterator[Fault]:
    """Yield a fault for each contradiction between settings that are valid on their own."""
    engine = found.execution
    within, call = engine.send_deadline_seconds, engine.call_timeout_seconds
    if lease_seconds is not None and within >= lease_seconds:
        yield Fault(
            "execution.send_deadline_seconds",
            f"It is {within}; expected less than FILLCAST_LEASE_SECONDS ({lease_seconds}), or a"
            " worker that counts as dead could still send.",
        )
    if engine.absence_gap_seconds < within + call:
        yield Fault(
            "execution.absence_gap_seconds",
            f"It is {engine.absence_gap_seconds}; expected at least"
            " execution.send_deadline_seconds + execution.call_timeout_seconds"
            f" ({within + call}), or an order still in flight could be declared absent.",
        )
    orders = found.order_defaults
    if code := orders.refusal_of(orders.default_order_type):
        yield Fault(
            "order_defaults.default_order_type",
            f"It is {orders.default_order_type}, but: {code.sentence}",
        )


def dump(document: Document) -> Json:
    """Return a document as JSON, with every key."""
    return {
        name: {
            key.name: key.kind.write(getattr(getattr(document, name), key.name))
            for key in KEYS.values()
            if key.group == name
        }
        for name in GROUPS
    }


def merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    """Return a document in which the keys of `changes` have their values. Checks nothing."""
    result: Json = {
        name: dict(given) if isinstance(given, Mapping) else given
        for name, given in document.items()
    }
    for name, given in changes.items():
        before = result.get(name)
        is_group = isinstance(before, dict) and isinstance(given, Mapping)
        result[name] = {**before, **given} if is_group else given  # type: ignore[dict-item]
    return result


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs between two documents, as JSON."""

    path: str
    before: Any
    after: Any


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the settings that differ between two documents, also ones unknown to this program."""
    old, new = _flat(before), _flat(after)
    paths = [*old, *(path for path in new if path not in old)]
    return [
        Change(path, old.get(path), new.get(path))
        for path in paths
        if old.get(path) != new.get(path)
    ]


def _flat(document: Mapping[str, Any]) -> Json:
    return {
        f"{group}.{name}": given
        for group, values in document.items()
        if isinstance(values, Mapping)
        for name, given in values.items()
    }

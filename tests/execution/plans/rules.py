"""What a plan may read, and the failure of a statement whose plan reads something else.

    check([("the name", plan, rule), ...])

reports every plan that breaks its rule: the rule in words, what it allows, the scans that break it,
and the plans below.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.execution.plans.explained import Node, Scan, lines_of, scans_of

BIG = ("execution_order", "positions_executionposition")
LIVE = frozenset({
    "position_open", "position_open_by_signal", "position_open_by_source", "position_check_due",
    "position_breached", "position_without_stop", "position_unprotected", "position_level_sync",
    "watch_buy_sl", "watch_buy_tp", "watch_sell_sl", "watch_sell_tp", "order_pending",
    "order_pending_action",
    "order_with_broker", "order_in_flight", "order_partly_known", "stop_moves_buy",
    "stop_moves_sell",
})  # fmt: skip
# Of one row: by id, the entry of a signal, the leg of a pair. Only with a condition.
KEYS = frozenset({
    "execution_order_pkey", "positions_executionposition_pkey", "one_entry",
    "one_oco_leg_fires", "one_routed_entry", "position_of_entry",
})  # fmt: skip
LIVE_ROWS_ONLY = "reads live rows only, however many old ones there are"


@dataclass(frozen=True)
class Rule:
    """Which indexes a plan may read, and how much of them."""

    text: str
    by: frozenset[str] = frozenset()  # whole or in part
    seeking: frozenset[str] = frozenset()  # only with a condition on the index
    never: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    tables: Collection[str] = BIG  # of which it judges the scans; empty: all
    alias: str = ""  # if given, only the scans of this one
    except_of: Collection[str] = ()  # tables that may be read whole
    by_keys: bool = True  # whether scans of single rows are allowed, and not judged
    by_any: bool = False  # any index is allowed, but no table may be read whole
    is_bounded: bool = True  # whether the indexes are limited, or only the rows
    count: int | None = None  # of the scans that are judged
    least: int = 0
    rows: range | None = None  # read by all scans together
    rows_each: int | None = None  # read by one scan at most
    loops: range | None = None  # how often a scan may run

    def broken_by(self, node: Node) -> list[str]:
        """Return what breaks the rule, in words."""
        judged = list(self.judged(node))
        found = [f"{one}" for one in judged if not self._allows(one)]
        used = {one.index for one in judged}
        found += [f"no scan by index {name}" for name in sorted(self.required - used)]
        wanted = self.least if self.count is None else self.count
        if len(judged) < wanted or self.count not in (None, len(judged)):
            found.append(f"{len(judged)} scans: {'; '.join(map(str, judged))}")
        read = sum(one.rows for one in judged)
        if self.rows is not None and read not in self.rows:
            found.append(f"{read} rows read: {'; '.join(map(str, judged))}")
        return found

    def judged(self, node: Node) -> Iterator[Scan]:
        for scan in scans_of(node):
            if self.tables and scan.table not in self.tables:
                continue
            if scan.table in self.except_of or self.alias not in ("", scan.alias):
                continue
            if not (self.by_keys and scan.index in KEYS and scan.condition):
                yield scan

    def _allows(self, scan: Scan) -> bool:
        if self.rows_each is not None and scan.rows > self.rows_each:
            return False
        if self.loops is not None and scan.loops not in self.loops:
            return False
        if not self.is_bounded:
            return True
        if scan.index is None or scan.index in self.never:
            return False
        is_sought = scan.index in self.seeking and scan.condition is not None
        return is_sought or scan.index in self.by or self.by_any

    def allowed(self) -> str:
        """Return in words what the rule allows."""
        named = [
            ("index ", self.by), ("with a condition, index ", self.seeking),
            ("never index ", self.never), ("always index ", self.required),
        ]  # fmt: skip
        parts = [text + _listed(names) for text, names in named if names]
        parts += ["any index, no table whole"] * self.by_any
        parts += ["single rows by key"] if self.by_keys and self.is_bounded else []
        parts += [f"{self.count or f'at least {self.least}'} scans"] * bool(
            self.count or self.least
        )
        if self.rows is not None:
            parts.append(f"{self.rows.start} to {self.rows.stop - 1} rows read")
        if self.rows_each is not None:
            parts.append(f"at most {self.rows_each} rows a scan")
        if self.loops is not None:
            parts.append(f"{self.loops.start} to {self.loops.stop - 1} loops of a scan")
        return "; ".join(parts) + f" (of {self.alias or ', '.join(self.tables) or 'any table'})"


def _listed(names: frozenset[str]) -> str:
    of_live = ["one of LIVE"] if names >= LIVE else []
    return " or ".join([*of_live, *sorted(names - LIVE if of_live else names)])


def live_rows(*also: str, text: str = LIVE_ROWS_ONLY, seeking: Iterable[str] = ()) -> Rule:
    """Any index of live rows, and these."""
    return Rule(text, by=LIVE | set(also), seeking=frozenset({"one_exit", *seeking}))


def by_index(*indexes: str, text: str = LIVE_ROWS_ONLY, least: int = 1) -> Rule:
    return Rule(text, by=frozenset(indexes), least=least)


def seeking(*indexes: str, text: str = LIVE_ROWS_ONLY, least: int = 1) -> Rule:
    return Rule(text, seeking=frozenset(indexes), least=least)


@dataclass
class Broken:
    name: str
    node: Node
    rule: Rule
    found: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        expected = f"  rule:     {self.rule.text}\n  expected: {self.rule.allowed()}"
        return "\n".join([self.name, expected, *(f"  found:    {one}" for one in self.found)])


def check(read: Iterable[tuple[str, Node, Rule]]) -> None:
    """Fail if a plan breaks its rule; name all that do."""
    __tracebackhide__ = True
    judged = [Broken(name, node, rule, rule.broken_by(node)) for name, node, rule in read]
    assert judged, "no statement was judged"
    if broken := [one for one in judged if one.found]:
        plans = [f"Plan of {one.name}\n" + "\n".join(lines_of(one.node)) for one in broken]
        head = f"{len(broken)} of {len(judged)} statements read what they should not"
        pytest.fail("\n".join([head, *map(str, broken), "", *plans]), pytrace=False)

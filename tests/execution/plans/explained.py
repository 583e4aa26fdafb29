"""A plan of PostgreSQL: as scans of tables, which a rule judges, and as lines for a person."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

from common.db.sql import rows
from tests.execution.query_plans import nodes_of, plan

Node = dict[str, Any]
BITMAPS = ("Bitmap Index Scan", "BitmapOr", "BitmapAnd")


@dataclass(frozen=True)
class Scan:
    """How one table is read."""

    table: str
    alias: str
    kind: str
    index: str | None
    condition: str | None  # on the index
    filter: str | None
    rows: int  # that it has read in all its loops, with those that a filter removed
    loops: int

    def __str__(self) -> str:
        using = f" by index {self.index}" if self.index else ""
        where = f", {self.condition}" if self.condition else " without a condition on it"
        removed = f", filter {self.filter}" if self.filter else ""
        read = f", {self.rows} rows read in {self.loops} loops" if self.loops else ""
        return f"{self.kind} of {self.table} {self.alias}{using}{where if using else ''}" + (
            removed + read
        )


def scans_of(node: Node) -> Iterator[Scan]:
    """Return the scans of a plan; of a bitmap scan, one for each index that it combines."""
    below: list[Node] = node.get("Plans", [])
    if node["Node Type"] == "Bitmap Heap Scan":
        parts = [one for part in below if part["Node Type"] in BITMAPS for one in nodes_of(part)]
        used = [one for one in parts if one["Node Type"] == "Bitmap Index Scan"]
        for number, one in enumerate(used):
            yield _scan(node, one, counts=number == 0)
    elif "Relation Name" in node and node["Node Type"] != "ModifyTable":
        yield _scan(node, node)
    for one in below:
        if one["Node Type"] not in BITMAPS:
            yield from scans_of(one)


def _scan(of: Node, by: Node, *, counts: bool = True) -> Scan:
    loops = of.get("Actual Loops", 0)
    removed = of.get("Rows Removed by Filter", 0) + of.get("Rows Removed by Index Recheck", 0)
    read = round((of.get("Actual Rows", 0) + removed) * loops) if counts else 0
    return Scan(
        of["Relation Name"], of.get("Alias", ""), of["Node Type"], by.get("Index Name"),
        by.get("Index Cond"), of.get("Filter"), read, round(loops),
    )  # fmt: skip


def lines_of(node: Node, depth: int = 0) -> Iterator[str]:
    """Return a plan as EXPLAIN prints it."""
    using = f" using {node['Index Name']}" if "Index Name" in node else ""
    table = f" on {node['Relation Name']} {node['Alias']}" if "Relation Name" in node else ""
    figures = f"  (rows={node['Plan Rows']} cost={node['Total Cost']})"
    if "Actual Rows" in node:
        figures = f"  (rows={node['Actual Rows']} loops={node['Actual Loops']})"
    yield f"{'  ' * depth}{node['Node Type']}{using}{table}{figures}"
    for what in ("Index Cond", "Recheck Cond", "Hash Cond", "Filter", "Rows Removed by Filter"):
        if what in node:
            yield f"{'  ' * depth}    {what}: {node[what]}"
    for one in node.get("Plans", ()):
        yield from lines_of(one, depth + 1)


def planned(sql: str, parameters: Any) -> Node:
    """Return the planner's choice without running the query."""
    return plan(sql, parameters)


def executed(sql: str, parameters: Any) -> Node:
    """Run a query; return its plan with the rows that it has read."""
    (row,) = rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
    found: Node = row[0][0]["Plan"]
    return found


def generic(sql: str) -> Node:
    """Return the plan that a session keeps of a prepared statement."""
    raw = connection.connection
    (explained,) = raw.execute(f"EXPLAIN (FORMAT JSON, GENERIC_PLAN) {sql}").fetchone()
    found: Node = explained[0]["Plan"]
    return found

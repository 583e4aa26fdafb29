"""The summary at the end: tables that show their sums."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from common.reason_codes import Code
from common.units import unit_label
from common.web.formatting import sentence
from demo.results import ConnectionResult, Results

MAX_SHOWN = 5  # best and worst connections
STATES = (
    ("filled", ("FILLED",)),
    ("working", ("PENDING", "SUBMITTING", "SUBMITTED", "PARTIALLY_FILLED", "CANCEL_REQUESTED")),
    ("skipped", ("SKIPPED",)),
    ("denied", ("DENIED",)),
    ("rejected", ("REJECTED",)),
    ("failed", ("FAILED",)),
    ("cancelled", ("CANCELLED",)),
    ("expired", ("EXPIRED",)),
    ("unknown", ("UNKNOWN",)),
)


def show(figures: Results, console: Console, *, verbose: bool) -> None:
    """Print all tables."""
    for table in (
        _states(figures), _reasons(figures), _closes(figures), _slippage(figures),
        _results(figures.results, verbose=verbose),
    ):  # fmt: skip
        console.print()
        console.print(table)
    console.print()
    if (first := figures.seconds_to_first_fill) is not None:
        console.print(f"The first fill came {first * 1000:.0f} ms after the first publication.")
    moves = figures.stop_moves
    console.print(
        f"Break-even and trailing moved {moves.positions} stops {moves.moves} times; {moves.closed}"
        f" positions closed there. {figures.paused} accounts reached their daily loss limit."
    )
    console.print(
        f"{figures.targets_hit} targets were hit, and {figures.slices_filled} slices of entries"
        " filled."
    )
    console.print(
        f"{figures.lost_replies.lost} orders got no reply from the broker; look-ups found the"
        f" outcome of"
        f" {figures.lost_replies.resolved} of them."
    )
    console.print(f"[bold]Audit[/]: {_verdict(figures)}", highlight=False)


def keep(figures: Results, folder: Path) -> Path:
    """Write all figures, with each connection's result, to a file; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "summary.json"
    content = {
        **figures.as_dict(),
        "reasons": [row._asdict() for row in figures.reasons],
        "slippage": [row._asdict() for row in figures.slippage],
        "connections": [
            {name: getattr(result, name) for name in ConnectionResult.__slots__}
            for result in figures.results
        ],
    }
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")
    return path


def _table(title: str, *columns: str, left: int = 1) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD
    )
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", no_wrap=True)
    return table


def _states(figures: Results) -> Table:
    names = [name for name, _ in STATES]
    table = _table("Candidates: every one has an outcome", "signal", "candidates", *names, "sum")
    total: Counter[str] = Counter()
    opened = [signal for signal in figures.signals if signal.action == "OPEN"]
    for signal in opened:
        counts = {
            name: sum(signal.states.get(status, 0) for status in statuses)
            for name, statuses in STATES
        }
        total.update({**counts, "candidates": signal.candidate_count or 0})
        table.add_row(*_state_row(_title(signal), signal.candidate_count or 0, counts.values()))
    table.add_section()
    table.add_row(*_state_row("all", total["candidates"], [total[name] for name in names]))
    return table


def _state_row(title: str, candidates: int, counts: Iterable[int]) -> list[str]:
    numbers = list(counts)
    mark = "[green]=[/]" if sum(numbers) == candidates else "[bold red]≠[/]"
    return [title, str(candidates), *(str(n or "·") for n in numbers), f"{mark} {sum(numbers)}"]


def _title(signal: object) -> str:
    direction, pair = getattr(signal, "direction"), getattr(signal, "currency_pair")  # noqa: B009
    kind = getattr(signal, "order_type")  # noqa: B009
    return f"S-{getattr(signal, 'id')} {direction.title()} {pair} {kind.lower()}"  # noqa: B009


def _reasons(figures: Results) -> Table:
    table = _table("Why not filled", "state", "code", "accounts", "meaning", left=2)
    table.columns[3].justify = "left"
    table.columns[3].no_wrap = False
    for row in figures.reasons:
        meaning = sentence(row.reason, row.status) if row.reason in Code.__members__ else ""
        table.add_row(row.status.lower(), row.reason, str(row.n), meaning)
    return table


def _closes(figures: Results) -> Table:
    table = _table("Closed positions", "reason", "positions", "won", "lost")
    for row in figures.closes:
        table.add_row(row.reason, str(row.n), str(row.won), str(row.lost))
    return table


def _slippage(figures: Results) -> Table:
    table = _table(
        "Slippage, + is worse", "what", "unit", "fills", "best", "median", "p95", "worst", left=2
    )
    for row in figures.slippage:
        numbers = (f"{value:+.1f}" for value in (row.best, row.median, row.p95, row.worst))
        table.add_row(row.what, unit_label(row.unit), str(row.n), *numbers)
    return table


def _results(results: Sequence[ConnectionResult], *, verbose: bool) -> Table:
    table = _table(
        "Result per connection, net", "owner", "connection",
        "orders", "filled", "trades", "net", "", left=2,
    )  # fmt: skip
    traded = [result for result in results if result.trades]
    many = len(traded) > 2 * MAX_SHOWN and not verbose
    for index, result in enumerate(results if verbose else traded):
        if many and MAX_SHOWN <= index < len(traded) - MAX_SHOWN:
            if index == MAX_SHOWN:
                table.add_row("…", f"{len(traded) - 2 * MAX_SHOWN} more", "", "", "", "", "")
            continue
        table.add_row(
            result.owner, result.connection, str(result.orders), str(result.filled),
            str(result.trades), f"{result.net:+,.2f}", result.currency,
        )  # fmt: skip
    table.add_section()
    for currency in sorted({result.currency for result in traded}):
        in_currency = [result for result in traded if result.currency == currency]
        table.add_row("all", f"{len(in_currency)} connections", *_sums(in_currency), currency)
    return table


def _sums(results: Sequence[ConnectionResult]) -> list[str]:
    names = ("orders", "filled", "trades")
    counts = [sum(getattr(result, name) for result in results) for name in names]
    net = sum((result.net for result in results), Decimal(0))
    return [*map(str, counts), f"{net:+,.2f}"]


def _verdict(figures: Results) -> str:
    audit = figures.audit
    if figures.passes_audit:
        return (
            f"[green]holds[/]. {audit['candidates']} candidates of {audit['signals']} signals,"
            " each counted once, all with an outcome."
        )
    wrong = ", ".join(f"{name} {n}" for name, n in audit["counters"].items() if n)
    unread = ", ".join(f"the books of {kind} could not be read" for kind in audit["unread"])
    why = "; ".join(filter(None, (wrong, unread))) or "nothing was published"
    return f"[bold red]does not hold[/]: {why}"

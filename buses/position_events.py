"""Events of positions: one that was opened, changed or closed, each as it is now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Q

from buses.catalogue import PositionChanged, PositionClosed, PositionOpened
from buses.made import Made
from common.db.sql import database_now
from execution.bus_rows import OrderLine
from positions.models import ExecutionPosition

_COLUMNS = (
    "signal__strategy_id", "signal__trade_plan_id", "connection__type", "connection__user",
    "entry_leg", "broker_position_id", "pair", "symbol", "side", "quantity", "opened_quantity",
    "entry_price", "sl", "tp", "sl_guardian", "tp_guardian", "realized_pnl", "commission", "swap",
    "close_reason", "opened_at", "closed_at",
)  # fmt: skip
State = type[PositionOpened] | type[PositionChanged] | type[PositionClosed]


def of_new_positions(ids: Sequence[int]) -> Iterator[Made]:
    """Yield that these positions were opened."""
    version = _version()
    for position in _positions(Q(pk__in=ids)):
        event = _event(PositionOpened, position, version)
        yield _made(position, event, position.pk, at=position.opened_at)


def of_closed(events: Mapping[int, Any]) -> Iterator[Made]:
    """Yield that positions were closed. events: of the outbox, by the id of the position."""
    version = _version()
    for position in _positions(Q(pk__in=list(events))):
        event = events[position.pk]
        made = _event(PositionClosed, position, version)
        yield _made(position, made, event.pk, at=event.created_at)


def of_lines(lines: Sequence[OrderLine]) -> Iterator[Made]:
    """Yield the positions that lines of the log changed, each once, with the last of its lines."""
    by_position: dict[int, OrderLine] = {}
    pairs: dict[tuple[int, Any, str | None], OrderLine] = {}
    for line in lines:
        if line.order_id is not None and line.code != "FILL" and line.position_id is None:
            continue  # an entry that has not filled
        if line.position_id is not None:
            by_position[line.position_id] = line
        elif line.signal_id is not None and line.connection_id is not None:
            pairs[line.signal_id, line.connection_id, line.position_leg] = line
    wanted = Q(pk__in=list(by_position))
    if pairs:
        signals = {signal for signal, _, _ in pairs}
        wanted |= Q(signal__in=signals, connection__in={account for _, account, _ in pairs})
    if not (by_position or pairs):
        return
    version = _version()
    for position in _positions(wanted):
        key = (position.signal_id, position.connection_id)
        causes = [
            by_position.get(position.pk),
            pairs.get((*key, position.entry_leg)),
            pairs.get((*key, None)),  # a line about all positions of the trade
        ]
        if found := [line for line in causes if line is not None]:
            line = max(found, key=lambda one: one.id)
            event = _event(PositionChanged, position, version)
            made = _made(position, event, line.id, at=line.at)
            yield made._replace(part=f"position-{position.pk}")


def _version() -> int:
    """Return a number that grows with time; read before the positions are."""
    return int(database_now().timestamp() * 1_000_000)


def _positions(wanted: Q) -> Iterator[ExecutionPosition]:
    found = ExecutionPosition.objects.filter(wanted).order_by("pk")
    yield from found.select_related("signal", "connection").only(*_COLUMNS)


def _made(position: Any, event: Any, row_id: int, *, at: Any) -> Made:
    account = position.connection
    subject = f"positions/{position.pk}"
    return Made(row_id, at, subject, event, str(account.pk), account.user_id)


def _event(state: State, position: Any, version: int) -> Any:
    return state(
        position_id=position.pk,
        state_version=version,
        signal_id=position.signal_id,
        strategy_id=position.signal.strategy_id or None,
        trade_plan_id=position.signal.trade_plan_id or None,
        account_id=str(position.connection_id),
        broker=position.connection.type,
        broker_position_id=position.broker_position_id or None,
        symbol=position.pair,
        broker_symbol=position.symbol,
        side=position.side,
        quantity=position.quantity,
        opened_quantity=position.opened_quantity,
        entry_price=position.entry_price,
        stop_loss=position.sl,
        take_profit=position.tp,
        stop_guardian=position.sl_guardian or None,
        target_guardian=position.tp_guardian or None,
        realized_pnl=position.realized_pnl,
        commission=position.commission,
        swap=position.swap,
        close_reason=position.close_reason or None,
        opened_at=position.opened_at,
        closed_at=position.closed_at,
    )

"""One position of a tenant: its figures, levels, the orders around it, and what happened."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from analytics.orders.explanations import Explanation, explain
from analytics.orders.figures import with_figures
from analytics.what_if.position_outlook import Surroundings, with_first_stop
from common.web.formatting import sentence
from connections.models import Instrument, LaneLease
from connections.session_lanes import HANDOVER_SECONDS
from execution.base.kill_switch import read_halts
from execution.models import ExecutionLog, Order
from portal.selectors.positions import PositionView, positions_of
from portal.selectors.signals import AccountOutcome
from positions.figures import LevelFigures, PositionFigures, open_targets
from positions.selectors import with_prices
from signals.effective_levels import Targets, targets_by_signal
from users.models import User
from users.tenancy import for_all_tenants

MAX_ORDERS, MAX_LINES = 30, 60
_IMPLIED = {"SUBMITTED": "The broker has accepted the order, as its fill shows."}
_OF_POSITION = re.compile(r"position (\d+)(?: by [^:]*)?:? ?")


@dataclass(frozen=True, slots=True)
class Level:
    """A stop or a target of a position. word: `Stop`, `Target 2`. fraction: what it closes of what
    was opened; None: all that is left. is_next: the one that is guarded now; later targets come
    after it."""

    word: str
    figures: LevelFigures
    guardian: str
    at_broker: Decimal | None
    fraction: Decimal | None = None
    is_next: bool = True
    is_stop: bool = False


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the timeline. order: the id of the order it is about; None: the position itself."""

    at: datetime
    text: str
    detail: str
    code: str
    order: int | None


@dataclass(frozen=True, slots=True)
class PositionHistory:
    """The orders around a position. entry: the order that opened it, if there still is one."""

    entry: Order | None
    orders: list[AccountOutcome]
    more: bool

    @property
    def explained(self) -> list[tuple[AccountOutcome, Explanation]]:
        """Each order with what happened to it."""
        return [(one, explain(one.order)) for one in self.orders]


@dataclass(frozen=True, slots=True)
class PositionPage:
    """All that the page of a position shows."""

    view: PositionView
    around: Surroundings
    history: PositionHistory
    targets: Targets  # that its signal has now

    @property
    def levels(self) -> list[Level]:
        """The stop, the next target, and the later ones of its signal."""
        position, figures = self.view.position, self.around.figures
        found = []
        if position.sl is not None:
            stop = figures.level(position.sl, is_stop=True)
            watcher, at_broker = position.stop_watcher, position.broker_sl
            found.append(Level("Stop", stop, watcher, at_broker, is_stop=True))
        for place, target in enumerate(open_targets(position, self.targets)):
            is_next = place == 0
            found.append(
                Level(
                    f"Target {target.number}" if len(self.targets.prices) > 1 else "Target",
                    figures.level(target.price, is_stop=False),
                    position.target_watcher if is_next else "",
                    position.broker_tp if is_next else None,
                    target.fraction,
                    is_next,
                )
            )
        return found


def position_of(user: User, pk: int) -> PositionView | None:
    """Return one of the tenant's positions with prices and its account's state; None: not found."""
    handover = timedelta(seconds=HANDOVER_SECONDS)
    leases = LaneLease.objects.filter(
        lane=OuterRef("connection__lane"), until__gte=Now() - handover
    )
    found = positions_of(user).filter(pk=pk).select_related("connection__health")
    row: Any = with_prices(with_first_stop(found.annotate(has_worker=Exists(leases)))).first()
    if row is None:
        return None
    row.connection.has_worker = row.has_worker
    return PositionView(row)


def surroundings(view: PositionView) -> Surroundings:
    """Return a position from `position_of` with its instrument and the halts. Two queries."""
    position = view.position
    book, symbol = position.connection.instrument_book, position.symbol
    return Surroundings(
        position,
        PositionFigures(
            position,
            position.current_price if position.is_open else None,
            position.first_stop,
            view.currency,
        ),
        Instrument.objects.filter(book=book, symbol=symbol).first(),
        read_halts(),
        view.currency,
    )


def position_page(view: PositionView) -> PositionPage:
    """Return what the page of a position shows, in five statements."""
    signal_id = view.position.signal_id
    with for_all_tenants():  # a MODIFY moves it also after its owner has left the feed
        targets = targets_by_signal([signal_id])[signal_id]
    return PositionPage(view, surroundings(view), _history(view.position), targets)


def _history(position: Any) -> PositionHistory:
    of_entry = Q(
        connection=position.connection_id, signal=position.signal_id,
        position_leg=position.entry_leg, leg__startswith="entry",
    )  # fmt: skip
    rows = with_figures(Order.objects.filter(of_entry | Q(position=position.pk)))
    rows = rows.select_related("trigger", "signal").prefetch_related("changes")
    found: list[Any] = list(rows.order_by("pk")[: MAX_ORDERS + 1])
    for order in found:
        order.connection = position.connection
    entry = next((order for order in found if order.is_entry), None)
    outcomes = [AccountOutcome(order, [], None) for order in found[:MAX_ORDERS]]
    return PositionHistory(entry, outcomes, len(found) > MAX_ORDERS)


def log_lines(page: PositionPage) -> list[LogLine]:
    """Return the newest lines about a position and the orders around it, the newest first."""
    position = page.view.position
    orders = [one.order.pk for one in page.history.orders]
    of_position = Q(order_id=None, signal_id=position.signal_id,
                    connection_id=position.connection_id)  # fmt: skip
    rows = ExecutionLog.objects.filter(of_position | Q(order_id__in=orders)).order_by("-pk")
    lines = []
    for row in rows[:MAX_LINES]:
        detail = row.detail
        if row.order_id is None and (named := _OF_POSITION.match(detail)):
            if int(named[1]) != position.pk:
                continue
            who = re.match(r"position \d+( by [^:]*)", detail)
            rest = detail[named.end() :].strip()
            detail = f"{rest}{who[1] if who else ''}".strip()
        text = _IMPLIED.get(row.code) or sentence(row.code, row.status)
        lines.append(LogLine(row.at, text, detail, row.code, row.order_id))
    return lines

"""What will be sent for a position, to whom, and what stands in its way now: sentences for people.

An obstacle does not refuse an action: it is stored and waits, and its owner knows before for how
long. What would be refused is found by a trial of the service itself (`common/db/trials.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from common.clocks import market_at, market_now
from common.money import plain
from common.web.confirmation import Consequence
from common.web.formatting import age, clock, gain_amount, number, quantity, signed
from connections.forms import broker_type_label
from connections.models import HaltMode, Instrument
from connections.selectors import health_badge, missing_worker_message
from execution.base.kill_switch import Halts
from execution.changes.position_levels import steps_of
from execution.exits.orders import ExitablePosition, ExitRequest, exit_quantity
from execution.models import Order
from positions.figures import PositionFigures
from positions.freeze_level import frozen_price
from positions.models import ExecutionPosition, Guardian

LATE_SECONDS = 300  # of market time: an older price is named as such


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A position with all that its page reads about it once.

    position: from `with_prices` and `with_first_stop`, with its connection's health, snapshot and
    worker. currency: of its account.
    """

    position: Any
    figures: PositionFigures
    instrument: Instrument | None
    halts: Halts
    currency: str

    @property
    def broker(self) -> str:
        """The broker and the account: `MetaTrader 5 (Main MT5)`."""
        connection = self.position.connection
        return f"{broker_type_label(connection.type)} ({connection.name})"

    @property
    def is_halted(self) -> bool:
        """Whether a kill switch stops its exits, too."""
        return _is_halted(self.position, self.halts)

    @property
    def price_age(self) -> float | None:
        """Seconds of market time since its price; None: there is none."""
        at = self.position.price_time
        return None if at is None else float((market_now() - at).total_seconds())

    def money(self, amount: Decimal) -> str:
        """Return an amount of its account's currency."""
        return gain_amount(amount, self.currency)


def with_first_stop(positions: QuerySet[ExecutionPosition]) -> QuerySet[ExecutionPosition]:
    """Add `first_stop`, the stop of the entry that opened a position; NULL: it had none.

    For a list on a page: an index look-up for each row.
    """
    entries = Order.objects.filter(
        connection=OuterRef("connection"), signal=OuterRef("signal"),
        position_leg=OuterRef("entry_leg"), leg__startswith="entry",
    )  # fmt: skip
    first = entries.order_by("pk").values("stop_loss")[:1]
    return positions.annotate(first_stop=Subquery(first))


def _is_halted(position: Any, halts: Halts) -> bool:
    connection = position.connection
    mode = halts.mode(
        owner_id=connection.owner_id,
        feed_id=position.signal.feed_id,
        connection_id=connection.pk,
        broker_type=connection.type,
        pairs={position.pair, position.signal.currency_pair},
    )
    return mode == HaltMode.HALTED


def halted_text(positions: Sequence[Any], halts: Halts) -> list[Consequence]:
    """Return how many of these positions a kill switch keeps from being closed now, if any."""
    halted = sum(_is_halted(position, halts) for position in positions)
    if not halted:
        return []
    text = (
        f"A kill switch stops the exits of {halted} of them (TRADING_HALTED): their closes are"
        " stored and sent once it is released, however long that takes."
    )
    return [Consequence("attention", text)]


def exit_obstacles(around: Surroundings) -> list[Consequence]:
    """Return why a close would not be filled within seconds, and how long it waits then."""
    position = around.position
    found = []
    if around.is_halted:
        found.append(
            "A kill switch stops all trading here, exits too (TRADING_HALTED): a close is stored"
            " and sent once it is released, however long that takes. Until then the position stays"
            " open; levels that the broker holds still work."
        )
    if position.exit_blocker:
        found.append("It is smaller than what its exchange sells now (EXIT_BELOW_MINIMUM).")
    if position.reserved > 0:
        being = quantity(position.reserved, position.pair)
        found.append(f"{being} of it is being closed already; only the rest can be closed now.")
    market = around.instrument.market if around.instrument else None
    if market is not None and market.is_open is False:
        opens = f" until {market.opens_at:%d %b %H:%M} UTC" if market.opens_at else ""
        found.append(
            f"The market is closed{opens}. A broker usually rejects a close that comes before; then"
            " the position stays open with its stop, and you close it again once it is open."
        )
    if _is_netting(position):
        found.append(
            "Its account has one position for each symbol. Where a close could reverse it, the"
            " broker first removes its own stop and target, and Fillcast monitors both meanwhile."
        )
    found += _of_connection(around, "a close")
    return [Consequence("attention", text) for text in (*found, *_of_price(around))]


def level_obstacles(around: Surroundings) -> list[Consequence]:
    """Return what keeps the broker from getting a level now, and who guards it meanwhile."""
    position = around.position
    found = []
    freeze = steps_of(position, around.instrument).freeze_level
    near = None
    if around.figures.price is not None:
        held = (position.broker_sl, position.broker_tp)
        near = frozen_price(held, around.figures.price, freeze)
    if near is not None:
        found.append(
            f"The price is within {plain(freeze)} of {plain(near)}, where the broker changes"
            " nothing (LEVELS_FROZEN). The change waits until it has moved away, however long that"
            " takes; the old level stays at the broker, and Fillcast monitors the new one."
        )
    market = around.instrument.market if around.instrument else None
    if market is not None and market.is_open is False:
        found.append(
            "The market is closed. If the broker takes no change now, it is sent again with"
            " growing pauses."
        )
    found += _of_connection(around, "a change of a level")
    return [Consequence("attention", text) for text in (*found, *_of_price(around))]


def _of_connection(around: Surroundings, what: str) -> Iterator[str]:
    connection = around.position.connection
    if worker := missing_worker_message(connection):
        yield f"{worker} There is no time limit: {what} waits for it."
        return
    state = getattr(connection, "health", None)
    css, label = health_badge(connection)
    if state is None or css not in ("rejected", "attention"):
        return
    reached = state.last_connected_at
    last = ""
    if reached is not None:
        last = f"; last reached {age((datetime.now(UTC) - reached).total_seconds())} ago"
    yield (
        f"Its account is not in order now ({label.lower()}{last}): {what} waits until the broker"
        " answers, without a time limit, and is tried again at growing intervals."
    )


def _of_price(around: Surroundings) -> Iterator[str]:
    old = around.price_age
    if old is None:
        yield "There is no price now: results are not known, and levels are not checked against it."
    elif old > LATE_SECONDS:
        at = clock(market_at(around.position.price_time))
        yield f"The price is {age(old)} old (of {at} UTC): figures and checks are as of then."


def _is_netting(position: Any) -> bool:
    snapshot = getattr(position.connection, "snapshot", None)
    return bool(snapshot and snapshot.position_mode == "NETTING")


# ---- what is sent --------------------------------------------------------------------------------
def level_consequences(
    around: Surroundings, *, stop_loss: Decimal | None, take_profit: Decimal | None
) -> list[Consequence]:
    """Return what moving the levels of a position to these does. None: no level."""
    position = around.position
    changes = (
        ("stop", position.sl, stop_loss, position.sl_guardian),
        ("target", position.tp, take_profit, position.tp_guardian),
    )
    found = []
    for name, before, after, guardian in changes:
        if before != after:
            found.append(Consequence("submitting", _sent(around, name, before, after, guardian)))
            if after is not None:
                found.append(Consequence("validated", _worth(around, name, after)))
            elif name == "stop":
                found.append(
                    Consequence(
                        "attention", "The position then has no stop: its loss has no limit."
                    )
                )
    if found:
        found.append(Consequence("safe", _counts_when(around)))
        found += level_obstacles(around)
    return found


def _sent(
    around: Surroundings, name: str, before: Decimal | None, after: Decimal | None, guardian: str
) -> str:
    change = f"from {plain(before)} to {plain(after)}" if before and after else (
        f"to {plain(after)}" if after else f"at {plain(before)}"
    )  # fmt: skip
    verb = "move" if before and after else "set" if after else "remove"
    if guardian == Guardian.BROKER and not around.position.levels_given_up:
        return f"Asks {around.broker} to {verb} the {name} {change}."
    done = {"move": "moves", "set": "sets", "remove": "removes"}[verb]
    itself = " and monitors it itself" if after else ""
    return f"Sends nothing to {around.broker}: Fillcast {done} the {name} {change}{itself}."


def _worth(around: Surroundings, name: str, level: Decimal) -> str:
    figures = around.figures.level(level, is_stop=name == "stop")
    in_r = "" if figures.in_r is None else f" ({signed(figures.in_r)} R)"
    away = ""
    if figures.distance is not None:
        away = f", {number(figures.distance, 1)} {around.figures.unit.word} from the price"
    return (
        f"At the {name} the open quantity would make about {around.money(figures.result)}{in_r},"
        f" before commission and slippage{away}."
    )


def _counts_when(around: Surroundings) -> str:
    holds = any(
        guardian == Guardian.BROKER
        for guardian in (around.position.sl_guardian, around.position.tp_guardian)
    )
    if holds and not around.position.levels_given_up:
        return (
            "It counts at once: Fillcast monitors the new level until the broker has confirmed that"
            " it holds it, usually within a second."
        )
    return "It counts at once, from the next price on."


def trailing_consequences(
    around: Surroundings, text: str, *, distance: Decimal | None, activation: Decimal | None
) -> list[Consequence]:
    """Return what a trailing stop does. text: the rule; distances: in the quote currency, None:
    not known yet."""
    position, price = around.position, around.figures.price
    sign = position.broker_side.sign
    found = [
        Consequence(
            "submitting",
            f"The stop {text}. Each move of it is sent to {around.broker}; it never moves back.",
        )
    ]
    if price is None or distance is None:
        found.append(Consequence("pending", "Where it begins is known with the next prices."))
    else:
        begins = position.entry_price + (activation or Decimal(0)) * sign
        waits = activation is not None and (price - begins) * sign < 0
        level = price - distance * sign
        is_better = position.sl is None or (level - position.sl) * sign > 0
        if waits:
            then = f"It stays where it is until the price reaches {plain(begins)}."
        elif is_better:
            then = f"At the present price {plain(price)} it goes to about {plain(level)} at once."
        else:
            reached = position.sl + distance * sign
            then = f"It stays at {plain(position.sl)} until the price is beyond {plain(reached)}."
        found.append(Consequence("validated", then))
    old = position.rule
    if old is not None and old.trailing_text:
        origin = old.get_trailing_origin_display().lower()
        found.append(
            Consequence("skipped", f"Replaces: the stop {old.trailing_text} (from: {origin}).")
        )
    return [*found, *level_obstacles(around)]


def close_part_consequences(
    around: Surroundings, exitable: ExitablePosition, request: ExitRequest
) -> list[Consequence]:
    """Return what closing a part does, with its result after rounding to the broker's step."""
    position = around.position
    closed = exit_quantity(exitable, request)
    free = exitable.quantity - exitable.reserved
    opposite = "buy" if position.side == "SELL" else "sell"
    rounded = ""
    if request.quantity is not None and closed != request.quantity:
        rounded = f" You asked for {number(request.quantity)}; {_why_rounded(exitable, closed)}"
    found = [
        Consequence(
            "submitting",
            f"Sends {around.broker} a market order to {opposite}"
            f" {quantity(closed, position.pair)}, ahead of all entries. It can only reduce the"
            f" position, never open one. What is above the broker's largest order is divided into"
            f" several.{rounded}",
        ),
        Consequence(
            "validated",
            "Nothing stays open." if closed >= free else
            f"{quantity(free - closed, position.pair)} stay open, with stop and target.",
        ),
    ]  # fmt: skip
    if around.position.unrealized_pnl is not None and position.quantity:
        share = around.position.unrealized_pnl * closed / position.quantity
        found.append(
            Consequence(
                "validated",
                f"At the latest price it would make about {around.money(share)} before commission.",
            )
        )
    found.append(Consequence("safe", "The stop stays active until the close is filled."))
    return [*found, *exit_obstacles(around)]


def _why_rounded(exitable: ExitablePosition, closed: Decimal) -> str:
    if closed >= exitable.quantity - exitable.reserved:
        least = plain(max(exitable.minimum, exitable.step))
        return f"less than {least} would be left, which the broker does not close."
    return f"the broker’s step is {number(exitable.step)}."


def fractions_text(exitable: ExitablePosition, pair: str) -> str:
    """Return what the usual fractions close after rounding: `half 20,000 EUR, a quarter …`."""
    parts = [("all", None), ("half", Decimal("0.5")), ("a quarter", Decimal("0.25"))]
    sizes = [
        f"{name} {quantity(exit_quantity(exitable, ExitRequest(exitable.id, 'close', part)), pair)}"
        for name, part in parts
    ]
    step = f" (whole steps of {number(exitable.step)})" if exitable.step > 0 else ""
    return f"After rounding{step}: {', '.join(sizes)}."

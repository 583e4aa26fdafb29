"""People's hands: a process that publishes, closes, moves levels and brings prices, as it is told.

`python -m tests.faults.operator_process` reads a JSON object a line ({"do": "publish", …}) and
answers with one. It is a process of its own, because web processes die as well
(`FILLCAST_FAILPOINTS`).
"""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import django

PAIR, SL, TP = "EUR/USD", "1.095", "1.11"


def publish(
    feed: int = 0,
    count: int = 1,
    action: str = "OPEN",
    refers_to: int | None = None,
    tp: str = TP,
    together: bool = False,
    seconds_valid: float = 0,
    **fields: Any,
) -> list[int]:
    """Publish so many signals to the feed of so many subscribers; return their ids.

    together: in one transaction, so that all their orders are there at once.
    """
    from django.db import transaction

    from common.clocks import market_now
    from signals.models import Approval, Feed, Signal
    from signals.services import publish as to_publish

    if together:
        with transaction.atomic():
            return publish(feed, count, action, refers_to, tp, False, seconds_valid, **fields)
    first = Signal.objects.get(pk=refers_to) if refers_to else None
    environment = first.feed if first else Feed.objects.get(slug=f"bench-{feed}")
    made = []
    for _ in range(count):
        signal = Signal(
            feed=environment, currency_pair=PAIR, direction=first.direction if first else "BUY",
            action=action, refers_to=first, approval=Approval.APPROVED,
        )  # fmt: skip
        if action != "CLOSE":
            signal.sl = Decimal(fields.get("sl", SL))
            signal.target_prices, signal.target_fractions = [Decimal(tp)], [Decimal(1)]
        for name in ("open_price", "stop_price", "close_fraction"):
            if name in fields:
                setattr(signal, name, Decimal(fields[name]))
        for name in ("direction", "order_type", "valid_until"):
            if name in fields:
                setattr(signal, name, fields[name])
        if seconds_valid:
            signal.valid_until = market_now() + timedelta(seconds=seconds_valid)
        signal.save()
        to_publish(signal.pk, by=None)
        made.append(signal.pk)
    return made


def close(positions: list[int], fraction: str = "1") -> list[int]:
    """Close by click; return the ids of the exits that were written."""
    from django.db import transaction

    from execution import services, tasks

    with transaction.atomic():
        ids = services.close_positions(positions, fraction=Decimal(fraction))
        tasks.enqueue_on_commit(ids, queue=tasks.EXITS)
    return ids


def modify(position: int, sl: str | None, tp: str | None) -> None:
    """Move a position's levels by click."""
    from django.db import transaction

    from execution import services, tasks

    with transaction.atomic():
        services.modify_position(
            position, stop_loss=Decimal(sl) if sl else None, take_profit=Decimal(tp) if tp else None
        )
        tasks.enqueue_pending_actions_on_commit()


def cancel(orders: list[int]) -> list[int]:
    """Cancel orders by click; return those that had not ended."""
    from django.db import transaction

    from execution import services, tasks

    with transaction.atomic():
        asked = services.cancel_orders(orders)
        tasks.enqueue_pending_actions_on_commit()
    return asked


def quote(bid: str = "1.09990", ask: str = "1.10000") -> None:
    """Bring a fresh price to the broker and to us."""
    from brokers.base import ReadFailed
    from brokers.paper.exchange import on_quotes
    from brokers.types import Quote
    from common.clocks import market_now
    from connections.models import DataConnection
    from prices.services import store_quotes

    fresh = [Quote(PAIR, Decimal(bid), Decimal(ask), market_now())]
    try:
        on_quotes(fresh)
    except ReadFailed:  # the broker has been started anew since
        on_quotes(fresh)
    store_quotes(DataConnection.objects.get(name="static").pk, fresh)


def draft(feed: int) -> tuple[str, int]:
    """Make a signal that waits for its publication; return a key of its provider, and its id."""
    from signals.models import Approval, Feed, Signal
    from users.services import create_api_key

    environment = Feed.objects.get(slug=f"bench-{feed}")
    made = Signal.objects.create(
        feed=environment, currency_pair=PAIR, direction="BUY", sl=Decimal(SL),
        target_prices=[Decimal(TP)], target_fractions=[Decimal(1)], approval=Approval.APPROVED,
    )  # fmt: skip
    _, secret = create_api_key(environment.owner, "fault")
    return secret, made.pk


def channel(url: str) -> int:
    """Have the operator told of everything at a URL."""
    from events.services import create_channel
    from users.models import User

    operator = User.objects.get(username="operator")
    return create_channel(user_id=operator.pk, name="hook", url=url).pk


def send(name: str, arguments: list[Any], queue: str) -> None:
    """Put a message into the real queue, whatever it says."""
    from celery import current_app

    current_app.send_task(name, args=arguments, queue=queue)


def audit() -> dict[str, Any]:
    """What `manage.py audit --json` prints."""
    from execution.audit.counters import audit as to_audit

    return to_audit().as_json()


ACTIONS: dict[str, Callable[..., Any]] = {
    deed.__name__: deed
    for deed in (publish, close, modify, cancel, quote, draft, channel, send, audit)
}


def main() -> None:
    """Answer until the input ends; what fails is told and the next is done all the same."""
    from django.db import connection

    import config.celery  # noqa: F401  # so that messages go to our Redis

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            told = {"ok": True, "told": ACTIONS[asked.pop("do")](**asked)}
        except Exception as error:
            told = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        connection.close()  # the database may be made anew before the next one
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    django.setup()
    main()

"""The operator's process: it publishes, closes, moves levels and stores prices on command.

`python -m tests.faults.operator_process` reads one JSON object per line ({"do": "publish", …}) and
answers each with one. It is a separate process, because web processes may die too
(`FILLCAST_REHEARSAL`).
"""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import django

PAIR, SL, TP = "EUR/USD", "1.095", "1.11"
AS_GIVEN = (
    "origin",
    "direction", "order_type", "valid_until", "after_signal_id", "after_state", "execution_style",
    "duration_seconds", "slice_count",
)  # fmt: skip


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
    """Publish `count` signals to the feed with `feed` subscribers; return their ids.

    together: in one transaction, so that all their orders become visible together.
    """
    from django.db import transaction

    from common.clocks import market_now
    from signals.models import Approval, Feed, Signal
    from signals.services import publish as to_publish

    if together:
        with transaction.atomic():
            return publish(feed, count, action, refers_to, tp, False, seconds_valid, **fields)
    first = Signal.objects.get(pk=refers_to) if refers_to else None
    signal_feed = first.feed if first else Feed.objects.get(slug=f"bench-{feed}")
    ids = []
    for _ in range(count):
        signal = Signal(
            feed=signal_feed, currency_pair=PAIR, direction=first.direction if first else "BUY",
            action=action, refers_to=first, approval=Approval.APPROVED,
        )  # fmt: skip
        if action != "CLOSE":
            signal.sl = Decimal(fields.get("sl", SL))
            signal.target_prices, signal.target_fractions = [Decimal(tp)], [Decimal(1)]
        for name in ("open_price", "stop_price", "close_fraction", "trail_distance"):
            if name in fields:
                setattr(signal, name, Decimal(fields[name]))
        for name in AS_GIVEN:
            if name in fields:
                setattr(signal, name, fields[name])
        if seconds_valid:
            signal.valid_until = market_now() + timedelta(seconds=seconds_valid)
        signal.save()
        to_publish(signal.pk, by=None)
        ids.append(signal.pk)
    return ids


def publish_pair(feed: int, first: dict[str, str], second: dict[str, str]) -> list[int]:
    """Publish an OCO pair to the feed with `feed` subscribers; return the ids of its signals."""
    from uuid import uuid4

    from signals.models import Approval, Feed, Signal
    from signals.services import publish as to_publish

    group, signal_feed = uuid4(), Feed.objects.get(slug=f"bench-{feed}")
    ids = []
    for leg in (first, second):
        prices = {name: Decimal(leg[name]) for name in ("stop_price", "sl")}
        signal = Signal.objects.create(
            feed=signal_feed, currency_pair=PAIR, direction=leg["direction"], oco_group=group,
            order_type=leg["order_type"], approval=Approval.APPROVED, **prices,
        )  # fmt: skip
        ids.append(signal.pk)
    to_publish(ids[0], by=None)
    return ids


def alert(feed: int, count: int = 1, first: int = 0, times: int = 1) -> list[str]:
    """Send alerts to the feed with `feed` subscribers as the endpoint receives them, each `times`
    times; return their states."""
    from django.db import transaction

    from alerts.inbox.storing import accept_alert
    from alerts.tasks import notify_worker_on_commit
    from signals.models import Feed

    signal_feed = Feed.objects.select_related("owner").get(slug=f"bench-{feed}")
    states = []
    for number in range(first, first + count):
        fields = {"action": "OPEN", "symbol": PAIR, "direction": "BUY", "sl": SL, "tp": TP,
                  "external_id": f"alert-{number}"}  # fmt: skip
        for _ in range(times):
            with transaction.atomic():
                receipt = accept_alert(signal_feed, json.dumps(fields).encode())
                notify_worker_on_commit()
            if receipt.error is not None or receipt.alert is None:
                raise RuntimeError(f"refused: {receipt.error}")
            states.append(str(receipt.alert.state))
    return states


def close(positions: list[int], fraction: str = "1") -> list[int]:
    """Close positions as a user does; return the ids of the new exits."""
    from django.db import transaction

    from execution import services, tasks

    with transaction.atomic():
        ids = services.close_positions(positions, fraction=Decimal(fraction))
        tasks.enqueue_on_commit(ids, queue=tasks.EXITS)
    return ids


def modify(position: int, sl: str | None, tp: str | None) -> None:
    """Move a position's levels as a user does."""
    from django.db import transaction

    from execution import services, tasks

    with transaction.atomic():
        services.modify_position(
            position, stop_loss=Decimal(sl) if sl else None, take_profit=Decimal(tp) if tp else None
        )
        tasks.enqueue_pending_actions_on_commit()


def cancel(orders: list[int]) -> list[int]:
    """Cancel orders as a user does; return the ids of those that had not ended."""
    from django.db import transaction

    from execution import services, tasks

    with transaction.atomic():
        cancelled = services.cancel_orders(orders)
        tasks.enqueue_pending_actions_on_commit()
    return cancelled


def change(orders: list[int], **wanted: str) -> None:
    """Change the price or quantity of orders as a user does."""
    from django.db import transaction

    from execution import tasks
    from execution.changes.order_changes import change_order
    from execution.submission.change_terms import WantedTerms

    values: dict[str, Any] = {name: Decimal(value) for name, value in wanted.items()}
    terms = WantedTerms(**values)
    with transaction.atomic():
        for order in orders:
            change_order(order, terms)
        tasks.enqueue_pending_actions_on_commit()


def quote(bid: str = "1.09990", ask: str = "1.10000") -> None:
    """Give the broker and us a new price."""
    from brokers.base import ReadFailed
    from brokers.paper.exchange import on_quotes
    from brokers.types import Quote
    from common.clocks import market_now
    from connections.models import DataConnection
    from prices.services import store_quotes

    fresh = [Quote(PAIR, Decimal(bid), Decimal(ask), market_now())]
    try:
        on_quotes(fresh)
    except ReadFailed:  # the broker has been restarted since
        on_quotes(fresh)
    store_quotes(DataConnection.objects.get(name="static").pk, fresh)


def draft(feed: int) -> tuple[str, int]:
    """Create an unpublished signal; return an API key of its provider, and the signal's id."""
    from signals.models import Approval, Feed, Signal
    from users.services import create_api_key

    signal_feed = Feed.objects.get(slug=f"bench-{feed}")
    signal = Signal.objects.create(
        feed=signal_feed, currency_pair=PAIR, direction="BUY", sl=Decimal(SL),
        target_prices=[Decimal(TP)], target_fractions=[Decimal(1)], approval=Approval.APPROVED,
    )  # fmt: skip
    _, secret = create_api_key(signal_feed.owner, "fault")
    return secret, signal.pk


def channel(url: str) -> int:
    """Send all of the operator's notifications to a URL; return the channel's id."""
    from events.services import create_channel
    from users.models import User

    operator = User.objects.get(username="operator")
    return create_channel(user_id=operator.pk, name="hook", url=url).pk


def send(name: str, arguments: list[Any], queue: str) -> None:
    """Put a message into the real queue, valid or not."""
    from celery import current_app

    current_app.send_task(name, args=arguments, queue=queue)


def audit() -> dict[str, Any]:
    """Return what `manage.py audit --json` prints."""
    from execution.audit.counters import audit as to_audit

    return to_audit().as_json()


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__: action
    for action in (
        publish,
        publish_pair,
        alert,
        close,
        modify,
        cancel,
        change,
        quote,
        draft,
        channel,
        send,
        audit,
    )
}


def main() -> None:
    """Run commands until the input ends; a command that fails is answered with its error."""
    from django.db import connection

    import config.celery  # noqa: F401  # so that messages go to our Redis

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": True, "result": ACTIONS[command.pop("do")](**command)}
        except Exception as error:
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        connection.close()  # the database may be recreated before the next command
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    django.setup()
    main()

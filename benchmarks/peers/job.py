"""What a queue's worker does for one account: the same code for every queue.

It writes the rows of `benchmarks.baseline`: the order before the broker is called, its outcome
afterwards. A message that is delivered again finds the order: a filled one is left alone, any other
is sent again, since nothing in a queue knows what the broker has. That is what "at least once"
means for a task that calls a broker.
"""

import asyncio
import os
from collections.abc import Iterable
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks import baseline  # noqa: E402
from brokers.paper.adapter import create  # noqa: E402
from brokers.types import ConnectionSpec  # noqa: E402
from connections.models import ExecutionConnection  # noqa: E402
from execution.ids import new_client_order_id  # noqa: E402
from execution.models import Order, Status  # noqa: E402
from signals.models import Signal  # noqa: E402

_adapter = create()
_runner = asyncio.Runner()


def fill(signal_id: int, connection_id: str) -> None:
    order, connection = _order_of(signal_id, connection_id)
    if order.status == Status.FILLED:
        return
    request = baseline.request_of(order, connection)
    spec = ConnectionSpec(request.connection_id, request.account, settings=connection.settings)
    reports = _runner.run(_adapter.submit(spec, request, lambda _: None))
    baseline.save_outcome(order, reports, connection)


def _order_of(signal_id: int, connection_id: str) -> tuple[Order, ExecutionConnection]:
    """Save the order of an account, or find the one of an earlier delivery and name it again."""
    order = Order.objects.filter(
        signal_id=signal_id, connection_id=UUID(connection_id), leg="entry"
    ).first()
    if order is None:
        return baseline.save_intent(signal_id, connection_id, worker_id=f"peer-{os.getpid()}")
    if order.status != Status.FILLED:
        order.client_order_id = new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
        order.save(update_fields=["client_order_id"])
    return order, order.connection


def mark_published(signal_id: int) -> None:
    Signal.objects.filter(pk=signal_id).update(published_at=timezone.now())


def arguments(signal_id: int, connection_ids: Iterable[str]) -> list[dict[str, int | str]]:
    return [{"signal_id": signal_id, "connection_id": one} for one in connection_ids]

"""A message that two processes take at once is carried out once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from buses.incoming.intake import Answer, Message, take
from buses.incoming.models import BusMessage
from buses.incoming.routes import add_route
from common.permissions import Role
from common.sql import database_now
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Feed
from tests.buses.test_incoming_signals import SUBJECT, body
from tests.roles import staff


@pytest.mark.django_db(transaction=True)
def test_message_taken_by_four_threads_is_published_once(
    alice: ExecutionConnection, feed: Feed
) -> None:
    add_route(SUBJECT, feed=feed, by=staff(Role.OPERATOR, name="olga"))
    one = Message("nats://bus/IN", "m-1", SUBJECT, body(), database_now())

    def take_it(_: int) -> Answer:
        try:
            return take(one)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(take_it, range(4)))
    assert Answer.ACK in answers
    assert Order.objects.count() == BusMessage.objects.count() == 1
    assert take(one) is Answer.ACK
    assert Order.objects.count() == 1

"""A message that two processes take at once is carried out once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from buses.incoming.intake import Answer, Message, take
from buses.incoming.models import BusMessage
from buses.incoming.routes import add_route
from common.db.sql import database_now
from common.permissions import Role
from common.reason_codes import Code
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


@pytest.mark.parametrize("is_corrected", [False, True])
@pytest.mark.django_db(transaction=True)
def test_message_id_of_four_contents_is_published_once_and_loses_nothing(
    alice: ExecutionConnection, feed: Feed, is_corrected: bool
) -> None:
    add_route(SUBJECT, feed=feed, by=staff(Role.OPERATOR, name="olga"))
    now = database_now()
    faulty = [Message("nats://bus/IN", "m-1", SUBJECT, b"{", now)] if is_corrected else []
    assert [take(one) for one in faulty] == [Answer.ACK] * len(faulty)
    sent = [
        Message("nats://bus/IN", "m-1", SUBJECT, body(signal_id=f"s-{number}"), now)
        for number in range(4)
    ]

    def take_it(message: Message) -> None:
        try:
            while take(message) is Answer.RETRY:
                continue
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take_it, sent))
    assert Order.objects.count() == 1
    rows = BusMessage.objects.values_list("body", flat=True)
    assert {bytes(one) for one in rows} == {one.body for one in [*faulty, *sent]}
    assert BusMessage.objects.filter(state="DISCARDED").count() == len(faulty)
    codes = BusMessage.objects.dead().values_list("code", flat=True)
    assert list(codes) == [Code.MESSAGE_ID_REPEATED] * 3

"""Of two equal entries at once, one is stored."""

import threading

import pytest
from django.db import connection

from common.errors import ConflictError
from signals.models import Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.intake import read_signal
from tests.connections import make
from tests.operational import set_setting


@pytest.mark.django_db(transaction=True)
def test_of_two_equal_entries_at_once_one_is_stored() -> None:
    set_setting("idempotency.dedupe_by", ("symbol", "direction"))
    feed, start = make.feed(), threading.Barrier(2)
    refused: list[str] = []

    def send() -> None:
        start.wait(60)
        draft = read_signal({"symbol": "EUR/USD", "direction": "BUY"})
        try:
            save_draft(feed, draft, origin=Origin.API, by=feed.owner)
        except ConflictError as error:
            refused.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert refused == ["SIGNAL_REPEATED"]
    assert Signal.objects.count() == 1

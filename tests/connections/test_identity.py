"""What readings tell of whose an account is, written for many at once."""

from contextlib import ExitStack
from uuid import UUID

import pytest
from django.db import transaction

from common.sql import rows
from connections import identity
from connections.models import ExecutionConnection
from tests.connections import make
from tests.connections.conftest import elsewhere
from tests.paper.broker_process import until

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKED = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def test_rows_are_locked_in_the_order_of_their_ids() -> None:
    """As by whoever claims or seals anew: whoever holds the first gets the second, too."""
    second, first = (make.connection(id=UUID(int=number), type="crypto") for number in (2, 1))
    mark = identity.mark_of(b"sealed")
    told = [(row.pk, f"account {row.pk}", mark) for row in (first, second)]
    live = ExecutionConnection.objects.select_for_update(no_key=True, nowait=True)
    with ExitStack() as hearing, transaction.atomic():
        live.get(pk=first.pk)
        done = hearing.enter_context(elsewhere(lambda: identity.hear(told)))
        until(lambda: bool(rows(BLOCKED)) or bool(done))
        assert not done
        live.get(pk=second.pk)
    assert done == [None]
    found = ExecutionConnection.objects.order_by("pk").values_list("identity", flat=True)
    assert list(found) == [f"account {first.pk}", f"account {second.pk}"]

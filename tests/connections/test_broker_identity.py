"""Broker identities from account readings are stored in batches."""

from contextlib import ExitStack
from uuid import UUID

import pytest
from django.db import transaction

from common.db.sql import rows
from connections import sealing
from connections.accounts import broker_identity
from connections.accounts.services import update_connection
from connections.models import ExecutionConnection
from connections.selectors import due_tests
from tests.connections import make
from tests.connections.conftest import elsewhere
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")
BLOCKED = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


@pytest.mark.django_db(transaction=True)
def test_rows_are_locked_in_id_order() -> None:
    """Claims and credential changes lock in this order too, so no deadlock is possible."""
    second, first = (make.connection(id=UUID(int=number), type="crypto") for number in (2, 1))
    mark = sealing.credentials_digest(b"sealed")
    identities = [(row.pk, f"account {row.pk}", mark) for row in (first, second)]
    live = ExecutionConnection.objects.select_for_update(no_key=True, nowait=True)
    with ExitStack() as hearing, transaction.atomic():
        live.get(pk=first.pk)
        done = hearing.enter_context(
            elsewhere(lambda: broker_identity.store_identities(identities))
        )
        until(lambda: bool(rows(BLOCKED)) or bool(done))
        assert not done
        live.get(pk=second.pk)
    assert done == [None]
    found = ExecutionConnection.objects.order_by("pk").values_list("identity", flat=True)
    assert list(found) == [f"account {first.pk}", f"account {second.pk}"]


def test_identity_read_with_former_settings_is_left_to_next_test() -> None:
    """The settings changed during the reading: for spot, the same key names another account."""
    row = make.connection(
        type="crypto", exchange_name="binance",
        settings={"market": "swap", "symbols": ["BTC/USDT:USDT"]},
    )  # fmt: skip
    settings = {"market": "spot", "symbols": ["BTC/USDT"]}
    update_connection(row.pk, by=row.user, settings=settings)
    broker_identity.store_identities([(row.pk, "1001 swap", sealing.credentials_digest(b"sealed"))])
    row.refresh_from_db()
    assert (row.identity, row.identity_credentials_digest) == ("", "")


def test_poll_does_not_move_account_waiting_for_test() -> None:
    """Else each minute puts it behind all others, and makes one that is under way due again."""
    first, second = make.connection(type="crypto"), make.connection(type="crypto")
    for row in (first, second, first):
        broker_identity.store_identities(
            [(row.pk, f"account {row.pk}", sealing.credentials_digest(b"sealed"))]
        )
    assert due_tests(5) == [first.pk, second.pk]


def test_identity_of_replaced_credentials_is_not_stored() -> None:
    """The credentials were replaced during the reading."""
    row = make.connection(type="crypto")
    broker_identity.store_identities(
        [(row.pk, "1001", sealing.credentials_digest(b"a former box"))]
    )
    row.refresh_from_db()
    assert (row.identity, row.identity_credentials_digest) == ("", "")

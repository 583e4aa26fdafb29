"""Which sources may stand in for which, and for which pairs."""

import pytest
from django.core.exceptions import ValidationError

from common.db.sql import rows
from common.reason_codes import Code
from connections.market_data.fallbacks import fallback_chains, followed_pairs, pairs_stood_in_for
from connections.market_data.sources import (
    SourceReport,
    flag_without_worker,
    get_or_create_broker_source,
    record_source_status,
)
from connections.metrics import GAUGES
from connections.models import DataConnection, ExecutionConnection, SourceHealth
from tests.connections import make
from users.models import User

pytestmark = pytest.mark.django_db
PAIR = "EUR/USD"


@pytest.fixture
def source() -> DataConnection:
    """A tenant's broker source that a worker follows."""
    account = make.connection(type="mt4")
    made = get_or_create_broker_source(account)
    ExecutionConnection.objects.filter(pk=account.pk).update(data_connection=made)
    record_source_status(SourceReport(made.pk, is_alive=True, pairs=[PAIR]))
    return made


def pushed(owner: User | None, **fields: object) -> DataConnection:
    settings = {"symbols": [PAIR]}
    return DataConnection.objects.create(
        name="Backup", kind="push", user=owner, settings=settings, **fields
    )


def pairs_of(source: DataConnection) -> list[str]:
    return followed_pairs(DataConnection.objects.select_related("health").get(pk=source.pk))


def test_pairs_are_kept_when_the_worker_is_lost(source: DataConnection) -> None:
    backup = pushed(source.user)
    DataConnection.objects.filter(pk=source.pk).update(fallback=backup)
    flag_without_worker()
    health = SourceHealth.objects.get(source=source)
    assert health.error_code
    assert (health.pairs, health.missing) == ([PAIR], [PAIR])
    assert pairs_stood_in_for([backup.pk]) == {backup.pk: [PAIR]}


def test_pairs_are_kept_after_an_error_and_replaced_by_a_stream(source: DataConnection) -> None:
    record_source_status(SourceReport(source.pk, code=Code.BROKER_HOST_DOWN, message="Away."))
    assert pairs_of(source) == [PAIR]
    record_source_status(SourceReport(source.pk, is_alive=True, pairs=["USD/JPY"]))
    assert pairs_of(source) == ["USD/JPY"]
    record_source_status(SourceReport(source.pk))
    assert pairs_of(source) == [], "nothing is needed of it, and that is no error"


def test_fallback_that_changed_hands_is_used_no_more(source: DataConnection) -> None:
    """Else another tenant's pushes would move the prices of all accounts of this source."""
    second = pushed(None)
    backup = pushed(source.user, fallback=second)
    DataConnection.objects.filter(pk=source.pk).update(fallback=backup)
    assert fallback_chains([source.pk]) == {source.pk: (backup.pk, second.pk)}
    DataConnection.objects.filter(pk=backup.pk).update(user=make.user("mallory"))
    assert fallback_chains([source.pk]) == {source.pk: ()}
    assert pairs_stood_in_for([backup.pk]) == {}


def test_shared_source_has_only_shared_fallbacks(source: DataConnection) -> None:
    backup = pushed(None)
    shared = pushed(None, fallback=backup)
    assert fallback_chains([shared.pk]) == {shared.pk: (backup.pk,)}
    DataConnection.objects.filter(pk=backup.pk).update(user=source.user)
    assert fallback_chains([shared.pk]) == {shared.pk: ()}


def test_owner_of_a_fallback_in_use_is_not_changed(source: DataConnection) -> None:
    backup = pushed(source.user)
    DataConnection.objects.filter(pk=source.pk).update(fallback=backup)
    backup.user = make.user("mallory")
    with pytest.raises(ValidationError, match=source.name):
        backup.clean()
    backup.user = None
    backup.clean()  # shared, it may stand in for anyone's
    DataConnection.objects.filter(pk=source.pk).update(fallback=None)
    backup.user = make.user("malory")
    backup.clean()


@pytest.mark.parametrize("column", ["suspects", "on_fallback"])
def test_source_that_is_off_raises_no_alarm(source: DataConnection, column: str) -> None:
    name = {"suspects": "suspect", "on_fallback": "on_fallback"}[column]
    (gauge,) = (one for one in GAUGES if one.name == f"price_source_pairs_{name}")
    SourceHealth.objects.filter(source=source).update(**{column: [PAIR]})
    assert isinstance(gauge.sql, str)
    assert [row.value for row in rows(gauge.sql)] == [1]
    DataConnection.objects.filter(pk=source.pk).update(is_active=False)
    assert rows(gauge.sql) == []

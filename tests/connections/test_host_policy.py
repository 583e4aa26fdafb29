"""Accounts at hosts that are no longer allowed, checked during concurrent changes."""

import ipaddress
from contextlib import ExitStack

import pytest
from django.db import transaction
from pytest_django import Settings

from common.db.sql import rows
from common.operational.kinds import OwnedNetwork
from connections import services
from connections.health.host_policy import deactivate_disallowed
from connections.models import ConnectionHealth, ExecutionConnection
from tests.connections import make
from tests.connections.claiming import BLOCKED
from tests.connections.conftest import elsewhere
from tests.operational import set_setting
from tests.until import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def strangers(settings: Settings) -> ExecutionConnection:
    """Bob's account is at a gateway that is Alice's since."""
    set_setting("networks.broker_networks", (ipaddress.ip_network("10.0.0.0/8"),))
    row = make.connection(make.user("bob"), type="ibkr", settings={"host": "10.0.0.5"})
    set_setting(
        "networks.gateway_owners", (OwnedNetwork(ipaddress.ip_network("10.0.0.5"), "alice"),)
    )
    return row


def test_concurrent_checks_deactivate_account_once(strangers: ExecutionConnection) -> None:
    lanes = [strangers.lane]
    with ExitStack() as there, transaction.atomic():
        assert deactivate_disallowed(lanes) == [strangers.pk]
        done = there.enter_context(elsewhere(lambda: deactivate_disallowed(lanes)))
        until(lambda: bool(rows(BLOCKED)) or bool(done))
    assert done == [[]]
    health = ConnectionHealth.objects.get(pk=strangers.pk)
    assert (health.status, health.needs_test, health.consecutive_failures) == ("ERROR", True, 1)


def test_account_moved_meanwhile_is_not_deactivated(
    strangers: ExecutionConnection,
) -> None:
    with ExitStack() as there, transaction.atomic():
        services.update_connection(strangers.pk, by=None, settings={"host": "10.0.0.6"})
        done = there.enter_context(elsewhere(lambda: deactivate_disallowed([strangers.lane])))
        until(lambda: bool(rows(BLOCKED)) or bool(done))
    assert done == [[]]
    health = ConnectionHealth.objects.get(pk=strangers.pk)
    assert (health.status, health.last_error) == ("UNTESTED", "")

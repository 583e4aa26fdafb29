"""Fixtures: keys, a web service that decides, and waiting for its answers."""

import ipaddress
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from common.sealing import new_private_key, public_key_of
from tests.fakes.decision_service import DecisionService, decision_service
from tests.operational import set_setting


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    set_setting("networks.outbound_networks", (ipaddress.ip_network("127.0.0.1/32"),))


@pytest.fixture
def service() -> Iterator[DecisionService]:
    with decision_service() as running:
        yield running

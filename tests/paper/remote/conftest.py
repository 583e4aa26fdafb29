"""The paper broker as a process of its own, somebody who calls it, a network between both."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.network_proxy import Network
from tests.paper.broker_process import BrokerProcess, Caller


@pytest.fixture(scope="package")
def process(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with BrokerProcess(tmp_path_factory.mktemp("broker") / "broker.log") as process:
        yield process


@pytest.fixture
def broker(process: BrokerProcess, transactional_db: None) -> BrokerProcess:
    """A broker that runs, with two accounts and a price; its books are the test's own."""
    if not process.alive:
        process.start()
    process.open("A1", "A2")
    return process


@pytest.fixture
def caller(broker: BrokerProcess) -> Iterator[Caller]:
    with Caller(broker.port) as someone:
        yield someone


@pytest.fixture
def network(broker: BrokerProcess) -> Iterator[Network]:
    with Network(("127.0.0.1", broker.port)) as between:
        yield between

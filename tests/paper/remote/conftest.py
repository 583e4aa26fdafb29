"""The paper broker in a separate process, a client of it, and a network between them."""

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
    """A running broker with two accounts and a price; each test has new books."""
    if not process.alive:
        process.start()
    process.open("A1", "A2")
    return process


@pytest.fixture
def caller(broker: BrokerProcess) -> Iterator[Caller]:
    with Caller(broker.port) as caller:
        yield caller


@pytest.fixture
def network(broker: BrokerProcess) -> Iterator[Network]:
    with Network(("127.0.0.1", broker.port)) as network:
        yield network

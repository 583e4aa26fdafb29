"""The assignment of accounts to lanes."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from brokers.account_capabilities import Capabilities
from brokers.registry import adapter_for
from brokers.types import ConnectionSpec
from common.db.sql import rows
from common.errors import InvalidInputError
from connections import session_lanes
from connections.models import ExecutionConnection
from connections.session_lanes import lane_of
from tests.connections import make
from tests.connections.conftest import elsewhere
from tests.execution.lanes.processes import BLOCKED_LOCKS
from tests.operational import set_setting
from tests.until import until


def capabilities(**fields: Any) -> Capabilities:
    spec = ConnectionSpec(connection_id="", account="")
    return replace(adapter_for("paper").capabilities(spec), **fields)


@given(st.uuids(), st.integers(1, 256))
def test_connection_is_always_in_the_same_lane_for_a_number_of_lanes(one: UUID, many: int) -> None:
    lane = lane_of(capabilities(session=True), one, many)
    assert lane == lane_of(capabilities(session=True), one, many)
    assert session_lanes.is_lane(lane)
    assert 0 <= int(lane.removeprefix("sessions.")) < many
    assert lane_of(capabilities(), one, many) == ""


@given(st.lists(st.uuids(), min_size=2, max_size=5, unique=True))
def test_connections_with_one_folder_share_a_lane(ids: list[UUID]) -> None:
    one_folder = capabilities(session=True, session_key="mt4 terminal-1")
    assert len({lane_of(one_folder, one, 8) for one in ids}) == 1


def test_connection_beside_its_terminal_has_that_workers_lane() -> None:
    assert lane_of(capabilities(session=True, lane="mt5.main"), uuid4(), 8) == "mt5.main"
    with pytest.raises(InvalidInputError):
        lane_of(capabilities(session=True, lane="mt5.a b"), uuid4(), 8)


@pytest.mark.django_db
def test_lane_is_set_on_creation_and_on_changes_of_settings() -> None:
    paper, ibkr = make.connection(type="paper"), make.connection(type="ibkr")
    assert (paper.lane, ibkr.lane) == ("", session_lanes.hash_lane(str(ibkr.pk), 8))
    mt4 = [make.connection(type="mt4", settings={"folder": "one"}) for _ in range(3)]
    assert len({one.lane for one in mt4}) == 1
    mt5 = make.connection(type="mt5", settings={"terminal": "London"})
    assert mt5.lane == "mt5.london"
    mt5.settings = {}
    mt5.save(update_fields=["settings"])
    assert ExecutionConnection.objects.get(pk=mt5.pk).lane == "mt5.main"


@pytest.mark.django_db
def test_connections_with_one_folder_share_a_lane_when_the_number_changes(
    settings: Any,
) -> None:
    def connect(folder: str) -> ExecutionConnection:
        return make.connection(type="mt4", settings={"folder": folder})

    folders = [f"folder-{n}" for n in range(8)]
    first = {folder: connect(folder) for folder in folders}
    set_setting("execution.session_lanes", 5)
    assert [connect(folder.upper()).lane for folder in folders] == [
        first[folder].lane for folder in folders
    ]
    for folder in folders:
        first[folder].save(update_fields=["settings"])
        assert ExecutionConnection.objects.get(pk=first[folder].pk).lane == first[folder].lane
    moved = first[folders[0]]
    moved.settings = {"folder": folders[1]}
    moved.save()
    assert moved.lane == first[folders[1]].lane


@pytest.mark.django_db
def test_new_connections_are_spread_over_as_many_lanes_as_set() -> None:
    for lanes in (1, 3, 256):
        set_setting("execution.session_lanes", lanes)
        found = [make.connection(type="ibkr") for _ in range(9)]
        assert [one.lane for one in found] == [
            session_lanes.hash_lane(str(one.pk), lanes) for one in found
        ]


@pytest.mark.django_db(transaction=True)
def test_concurrent_connections_with_one_folder_share_a_lane(settings: Any) -> None:
    """In processes started with different numbers of lanes."""

    def connect() -> ExecutionConnection:
        return make.connection(type="mt4", settings={"folder": "one"})

    with ExitStack() as joined, transaction.atomic():
        first = connect()
        assert first.lane != "sessions.0"
        set_setting("execution.session_lanes", 1)
        second = joined.enter_context(elsewhere(connect))
        until(lambda: bool(rows(BLOCKED_LOCKS)))
    assert second[0].lane == first.lane

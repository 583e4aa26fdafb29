"""Sessions of a transaction pooler are refused unless their login is made for it."""

from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connections

from common.db.checked_sessions.base import DatabaseWrapper
from common.db.direct_sessions import EXPECTED
from common.db.session_checks import ExpectedSession, WrongSessionError, find_faults, refuse_wrong

EXPECTATION = ExpectedSession(
    role="fillcast_trade",
    setting="FILLCAST_DATABASES",
    parameters={"lock_timeout": 2_000, "jit": "off"},
)
RIGHT = {
    "login": "trade", "is_unrestricted": False, "roles": ["fillcast_trade"],
    "owners": [], "settings": ["2000", "off"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, []),
        ({"settings": ["0", "off"]}, ["lock_timeout is 0, not 2000"]),
        ({"settings": [None, "on"]}, ["lock_timeout is None, not 2000", "jit is on, not off"]),
        ({"is_unrestricted": True}, ["it bypasses row-level security"]),
        ({"owners": ["fillcast"]}, ["it has the rights of fillcast, which owns the tables"]),
        ({"roles": []}, ["it is a member of no role, not of fillcast_trade"]),
        (
            {"roles": ["fillcast_trade", "fillcast_web"]},
            ["it is a member of ['fillcast_trade', 'fillcast_web'], not of fillcast_trade"],
        ),
    ],
)
def test_every_fault_is_named(found: dict[str, Any], expected: list[str]) -> None:
    assert find_faults({**RIGHT, **found}, EXPECTATION) == expected


def own_arguments() -> dict[str, Any]:
    names = ("host", "port", "user", "password", "dbname")
    known = connections["default"].get_connection_params()
    return {name: known[name] for name in names if name in known}


@pytest.mark.django_db(transaction=True)
@pytest.mark.django_db
def test_owner_is_refused_as_the_login_of_a_pooler() -> None:
    with psycopg.connect(**own_arguments(), autocommit=True) as session:
        with pytest.raises(WrongSessionError, match="it bypasses row-level security") as raised:
            refuse_wrong(session, EXPECTATION)
        assert "of FILLCAST_DATABASES is not made for a transaction" in str(raised.value)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_member", [False, True])
def test_member_of_the_tables_owner_is_refused(is_member: bool) -> None:
    """It is exempt from row-level security, as the owner is, without any attribute of its own."""
    expected = ExpectedSession(role="fillcast_trade", setting="URL", parameters={})
    with psycopg.connect(**own_arguments()) as session:  # ends in a rollback
        for statement in (
            "CREATE ROLE owner_of_one NOLOGIN",
            "CREATE TABLE one_of_ours (id int)",
            "ALTER TABLE one_of_ours OWNER TO owner_of_one",
            "CREATE ROLE member IN ROLE fillcast_trade",
            "GRANT owner_of_one TO member" if is_member else "SELECT",
            "SET LOCAL ROLE member",
        ):
            session.execute(statement.encode())
        if is_member:
            with pytest.raises(WrongSessionError, match="it has the rights of owner_of_one, which"):
                refuse_wrong(session, expected)
        else:
            refuse_wrong(session, expected)
        session.rollback()


@pytest.fixture
def pooled() -> Any:
    """Return an engine whose settings state that there is a pooler."""
    settings = {**connections.settings["default"], EXPECTED: EXPECTATION}
    settings["OPTIONS"] = {}
    wrapper = DatabaseWrapper(settings, "default")
    yield wrapper
    wrapper.close()


@pytest.mark.django_db
def test_refused_session_is_not_used_later(pooled: DatabaseWrapper) -> None:
    for _ in range(2):
        with pytest.raises(OperationalError, match="is not made for a transaction pooler"):
            pooled.ensure_connection()

"""What pages say of a price source in trouble: each sentence once, and what helps a source."""

from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.base import BrokerError, ReadFailed
from common.reason_codes import Code
from connections.error_messages import explain
from connections.market_data.source_status import SourceStatus, source_status, with_status
from connections.market_data.sources import (
    SourceReport,
    flag_without_worker,
    get_or_create_broker_source,
    record_source_status,
    share_with_all,
    sources_in_lanes,
    unavailable_reason,
)
from connections.models import ConnectionHealth, DataConnection, ExecutionConnection
from connections.session_lanes import missing_worker_message_of_lane
from tests.connections import make
from users.models import User

pytestmark = pytest.mark.django_db
AGAIN = "It is retried automatically."
OTHER = "choose another price source for the accounts that use it."


@pytest.fixture
def source() -> DataConnection:
    return get_or_create_broker_source(make.connection(type="mt4"))


def shown(source: DataConnection, reader: User | None = None) -> SourceStatus:
    found = with_status(DataConnection.objects.all()).get(pk=source.pk)
    return source_status(found, datetime.now(UTC), reader=reader)


def refused(code: Code, detail: str = "") -> BrokerError:
    return ReadFailed(code, detail)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused(Code.CREDENTIALS_REFUSED, "Invalid account."),
         "Broker: login or password not accepted. Invalid account."
         " Enter the credentials again and run the connection test."),
        (refused(Code.BROKER_UNREACHABLE, "no answer in time"),
         "The broker could not be reached. no answer in time."
         " Check host and network; it is tried again automatically."),
        (refused(Code.INVALID_QUOTE, "EUR/USD: bid 2 over ask 1"),
         "The broker sent an invalid price; it was ignored. EUR/USD: bid 2 over ask 1."
         " If it happens again and again, choose another price source."),
        (refused(Code.MARKET_CLOSED), "Broker: the market is closed. Wait until the market opens."),
        (refused(Code.NOT_CONNECTED),  # no signal waits here
         f"There is no connection to the broker; nothing was sent. {AGAIN}"),
        (ImportError("no", name="x"), "This process has no library for mt4 accounts (x)."
         " Operators: install what the message names on every trading process's machine."),
        (ValueError("ours"), "An internal error occurred (ValueError)."
         " Report the reference in the log to the operators."),
    ],
)  # fmt: skip
def test_status_sentence_is_not_repeated(
    source: DataConnection, error: Exception, words: str
) -> None:
    why = explain(error, "mt4")
    record_source_status(
        SourceReport(source.pk, code=why.code, message=why.message, pairs=["EUR/USD"])
    )
    assert shown(source).text == words


def test_hint_for_disabled_account_is_to_enable_it(source: DataConnection) -> None:
    account = source.broker_connection
    assert account is not None
    mine = ExecutionConnection.objects.filter(pk=account.pk)
    mine.update(is_active=False, data_connection=source)
    [found] = sources_in_lanes([account.lane])
    why = unavailable_reason(found, begins=True)
    assert why is not None
    record_source_status(SourceReport(source.pk, code=why[0], message=why[1]))
    assert shown(source).text == (
        "The account that provides these prices is switched off."
        f" Switch that account on, or {OTHER}"
    )


def test_source_page_does_not_link_to_itself(source: DataConnection) -> None:
    for code in (Code.QUOTE_MISSING, Code.QUOTE_STALE, Code.UNKNOWN_SYMBOL_AT_BROKER):
        record_source_status(
            SourceReport(source.pk, code=code, message="Nothing.", pairs=["EUR/USD"])
        )
        assert shown(source).text == (
            "Nothing. Check that the broker lists and quotes these symbols, and that its market"
            " is open."
        )


def test_missing_worker_message_is_shown_once(source: DataConnection) -> None:
    account = source.broker_connection
    assert account is not None
    ExecutionConnection.objects.filter(pk=account.pk).update(data_connection=source)
    flag_without_worker()
    message = missing_worker_message_of_lane(account.lane)
    assert "The operators must" in message
    assert shown(source).text == f"{message} It is followed as soon as one runs."


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"is_active": False}, "ACTIVE", f"is switched off. Switch that account on, or {OTHER}"),
        ({"is_active": False, "archived_at": datetime.now(UTC)}, "ACTIVE",
         f"is archived. {OTHER.capitalize()}"),
        ({}, "UNTESTED", f"is not tested. {Code.CONNECTION_UNTESTED.hint}"),
    ],
    ids=["off", "archived", "untested"],
)  # fmt: skip
def test_no_worker_hint_when_nothing_would_be_followed(
    source: DataConnection, fields: dict[str, Any], status: str, message: str
) -> None:
    account = source.broker_connection
    assert account is not None
    make.connection(data_connection=source)
    ExecutionConnection.objects.filter(pk=account.pk).update(**fields)
    ConnectionHealth.objects.filter(connection=account).update(status=status)
    flag_without_worker()
    text = shown(source).text
    assert "worker" not in text
    assert "these prices" in text
    assert text.endswith(message)


def test_code_without_message_shows_its_sentence(source: DataConnection) -> None:
    record_source_status(SourceReport(source.pk, code=Code.CREDENTIALS_REFUSED))
    assert shown(source).message == Code.CREDENTIALS_REFUSED.sentence


def test_foreign_account_problem_is_left_to_operators() -> None:
    admin, tenant = make.user(is_staff=True), make.user()
    source = get_or_create_broker_source(make.connection(type="mt4", admin=admin))
    share_with_all(source, by=admin)
    record_source_status(
        SourceReport(source.pk, code=Code.CREDENTIALS_REFUSED, message="Login 4711 is wrong.")
    )
    assert shown(source, tenant).text == (
        "These prices come from an account of the operators."
        f" {Code.CREDENTIALS_REFUSED.sentence} Ask the operators, or {OTHER}"
    )
    assert shown(source, admin).message == "Login 4711 is wrong."
    record_source_status(
        SourceReport(source.pk, code=Code.MARKET_CLOSED, message="4711: closed.", pairs=["EUR/USD"])
    )
    assert shown(source, tenant).remedy == "Wait until the market opens."

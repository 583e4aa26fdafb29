"""Owners' mistakes through the whole system: each is reported to its owner alone."""

import pytest

from common.reason_codes import Code
from common.web.formatting import with_hint
from conformance.harness import HarnessFeature
from connections.health import connection_checks
from connections.models import ExecutionConnection
from events.models import Event
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.execution.staged_accounts import STAGED, connected, keys, played, publish, state, trade
from tests.sampling import often
from tests.until import until

__all__ = ["keys"]
pytestmark = [pytest.mark.usefixtures("inline_commits"), pytest.mark.slow]
EXPECTED = {
    HarnessFeature.PASSWORD: {Code.CREDENTIALS_REFUSED},
    HarnessFeature.HOST: {Code.BROKER_UNREACHABLE, Code.NOT_CONNECTED},
    HarnessFeature.ACCOUNT: {Code.UNKNOWN_ACCOUNT, Code.CREDENTIALS_REFUSED, Code.ACCOUNT_MISMATCH},
}


@pytest.mark.parametrize("mistake", EXPECTED)
@pytest.mark.parametrize(("kind", "name"), often(STAGED, every=2))
def test_mistake_is_reported_to_its_owner_and_affects_no_other_account(
    feed: Feed, trading: TradingRuntime, kind: str, name: str, mistake: HarnessFeature
) -> None:
    with played(kind, name, trading) as stage:
        if mistake in stage.unavailable:
            pytest.skip(stage.unavailable[mistake])
        spec = trading.dispatcher.run_call(stage.with_mistake(mistake), 30)
        if mistake is HarnessFeature.ACCOUNT and spec.identity:
            pytest.skip(
                "another account's keys are no mistake before a trade: test_account_identity.py"
            )
        wrong = connected(kind, spec, stage, feed)
        good = connected(kind, trading.dispatcher.run_call(stage.second_account(), 30), stage, feed)
        assert {check.result for check in connection_checks.run_test(good.pk)} <= {"ok", "warn"}
        failed = [check for check in connection_checks.run_test(wrong.pk) if check.result == "fail"]
        assert failed
        assert failed[0].hint
        noted = state(wrong)
        assert (state(good).status, noted.status) == ("ACTIVE", "ERROR")
        assert noted.last_error == with_hint(failed[0].detail, failed[0].hint)
        assert Event.objects.filter(kind="connection.error", connection_id=wrong.pk).count() == 1
        publish(feed, kind)
        trade(trading)
        assert Order.objects.get(connection=good).status == "FILLED"
        assert Order.objects.get(connection=wrong).reason == "CONNECTION_ERROR"


@pytest.mark.parametrize("mistake", EXPECTED)
@pytest.mark.parametrize(("kind", "name"), often(STAGED, every=2))
def test_failure_after_the_test_is_reported_by_the_next_order(
    feed: Feed, trading: TradingRuntime, kind: str, name: str, mistake: HarnessFeature
) -> None:
    with played(kind, name, trading) as stage:
        if mistake in stage.unavailable:
            pytest.skip(stage.unavailable[mistake])
        wrong = connected(
            kind, trading.dispatcher.run_call(stage.with_mistake(mistake), 30), stage, feed
        )
        good = connected(kind, trading.dispatcher.run_call(stage.second_account(), 30), stage, feed)
        connection_checks.run_test(good.pk)
        book = ExecutionConnection.objects.get(pk=good.pk).instrument_book
        ExecutionConnection.objects.filter(pk=wrong.pk).update(instrument_book=book)
        publish(feed, kind)
        trade(trading)
        order = Order.objects.get(connection=wrong)
        assert Order.objects.get(connection=good).status == "FILLED"
        assert order.reason in EXPECTED[mistake]
        until(lambda: state(wrong).last_error != "")
        assert state(wrong).last_error.startswith(Code(order.reason).sentence)
        assert state(good).last_error == ""

"""The session: kept, lost, refused, and opened again no faster than TWS allows."""

import asyncio
import time
from dataclasses import replace
from decimal import Decimal

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.ibkr.adapter import IbkrAdapter
from brokers.ibkr.endpoint import client_id_of
from brokers.types import ConnectionSpec, ReportKind
from common.reason_codes import Code
from tests.ibkr.factories import (
    ACCOUNT,
    QUICK,
    WAIT_SECONDS,
    Environment,
    adapter,
    limit,
    order,
    with_environment,
)

ID = "abc00000000000001"


@with_environment
async def test_client_id_in_use_is_refused_until_it_is_free(stage: Environment) -> None:
    other = adapter()
    await other.account(stage.spec)
    with pytest.raises(NotSent) as refused:
        await stage.submit(order())
    assert refused.value.code is Code.CLIENT_ID_IN_USE
    (check,) = await stage.adapter.test(stage.spec)
    assert (check.name, check.result) == ("client id", "fail")

    tried = list(stage.tws.connects)
    await stage.wait_until(lambda: len(stage.tws.connects) >= len(tried) + 2)
    pauses = [b - a for a, b in zip(tried[1:], stage.tws.connects[2:], strict=False)]
    assert min(pauses) >= 0.75 * QUICK.client_id_delay
    await other.disconnect()
    await stage.wait_until(lambda: stage.session.usable)
    await stage.submit(order())


@with_environment
async def test_account_missing_in_the_login_is_refused(stage: Environment) -> None:
    spec = replace(stage.spec, account="U999")
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.account(spec)
    assert failed.value.code is Code.UNKNOWN_ACCOUNT
    (check,) = await stage.adapter.test(spec)
    assert (check.name, check.result) == ("account", "fail")


@with_environment
async def test_restarted_gateway_is_reconnected_with_back_off(
    stage: Environment,
) -> None:
    await stage.submit(limit())
    await stage.tws.close()
    await stage.wait_until(lambda: not stage.session.usable)
    with pytest.raises(ReadFailed):
        await stage.adapter.find_order(stage.spec, ID)
    await stage.tws.open(stage.tws.port)
    (found,) = await stage.find(ID) or []
    assert found.kind is ReportKind.ACCEPTED


@with_environment
async def test_waiting_write_brings_the_reconnect_forward(stage: Environment) -> None:
    patient = replace(QUICK, first_delay=30.0, longest_delay=30.0)
    stage.adapter = adapter(timing=patient)
    await stage.submit(limit())
    await stage.tws.close()
    await stage.wait_until(lambda: not stage.session.usable)
    with pytest.raises(ReadFailed):
        await stage.adapter.account(stage.spec)  # a read waits for the next reconnect
    await stage.tws.open(stage.tws.port)
    with pytest.raises(NotSent):
        await stage.submit(limit("abc00000000000002"))
    await stage.wait_until(lambda: stage.session.usable)
    await stage.submit(limit("abc00000000000002"))


@with_environment
async def test_refusal_that_contradicts_the_details_reloads_them(
    stage: Environment,
) -> None:
    await stage.submit(limit())
    assert "EURUSD" in stage.session.details
    stage.fault("reject", 110, "The price does not conform to the minimum price variation.")
    with pytest.raises(Rejected):
        await stage.submit(limit("abc00000000000002"))
    assert "EURUSD" not in stage.session.details
    await stage.submit(limit("abc00000000000003"))


@with_environment
async def test_unresponsive_gateway_is_disconnected(stage: Environment) -> None:
    await stage.submit(limit())
    connects = len(stage.tws.connects)
    stage.tws.muted = {49}  # no answer to the ping
    await stage.wait_until(lambda: len(stage.tws.connects) > connects)
    stage.tws.muted = set()
    assert await stage.find(ID) is not None


@with_environment
async def test_unterminated_lists_confirm_no_absence(stage: Environment) -> None:
    await stage.submit(limit("abc00000000000002"))
    for kind in (16, 99, 7):
        stage.tws.muted = {kind}
        with pytest.raises(ReadFailed):
            await stage.adapter.find_order(stage.spec, ID)
    for kind, read in ((61, stage.adapter.positions), (6, stage.adapter.account)):
        stage.tws.muted = {kind}
        with pytest.raises(ReadFailed):
            await read(stage.spec)
    stage.tws.muted = set()
    assert await stage.find(ID) is None


@with_environment
async def test_tws_that_stays_without_ibkr_is_reconnected(stage: Environment) -> None:
    stage.adapter = IbkrAdapter(replace(QUICK, ibkr_lost=0.1))
    await stage.submit(limit())
    connects = len(stage.tws.connects)
    stage.tws.announce(1100, "lost")
    await stage.wait_until(lambda: len(stage.tws.connects) > connects)
    assert await stage.find(ID) is not None


@with_environment
async def test_reply_timeout_setting_is_used(stage: Environment) -> None:
    stage.adapter = adapter(timing=replace(QUICK, reply=10 * WAIT_SECONDS))
    spec = replace(stage.spec, settings={**stage.spec.settings, "reply_timeout": "0.05"})
    stage.fault("accept in silence")
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(OutcomeUnknown):
            await stage.adapter.submit(spec, limit(), lambda _: None)


@with_environment
async def test_changed_settings_open_another_session(stage: Environment) -> None:
    await stage.submit(limit())
    stage.client_id = 9
    await stage.submit(limit("abc00000000000002"))
    await stage.wait_until(lambda: [v.client_id for v in stage.tws.sessions] == [9])
    wrong = replace(stage.spec, settings={**stage.spec.settings, "port": "many"})
    with pytest.raises(NotSent):
        await stage.adapter.submit(wrong, order(), lambda _: None)
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.account(wrong)
    assert failed.value.code is Code.FIELD_INVALID
    (check,) = await stage.adapter.test(wrong)
    assert (check.name, check.result) == ("settings", "fail")


@with_environment
async def test_connection_keeps_its_own_client_id(stage: Environment) -> None:
    settings = {k: v for k, v in stage.spec.settings.items() if k != "client_id"}
    specs = [ConnectionSpec(f"c{n}", ACCOUNT, settings=settings) for n in range(3)]
    for spec in specs:
        await stage.adapter.connect(spec)
    ids = {visitor.client_id for visitor in stage.tws.sessions}
    assert len(ids) == 3
    await stage.crash()
    for spec in reversed(specs):  # another process, in another order
        await stage.adapter.connect(spec)
    assert {visitor.client_id for visitor in stage.tws.sessions} == ids
    assert len({client_id_of(f"c{n}") for n in range(10_000)}) == 10_000


@with_environment
async def test_two_connections_of_one_gateway_never_share_a_client_id(stage: Environment) -> None:
    await stage.adapter.connect(stage.spec)
    other = replace(stage.spec, connection_id="c2")
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.connect(other)
    assert failed.value.code is Code.CLIENT_ID_IN_USE
    assert stage.spec.connection_id not in failed.value.detail, "it may be another tenant's"
    assert [visitor.client_id for visitor in stage.tws.sessions] == [stage.client_id]
    (check,) = await stage.adapter.test(other)
    assert (check.name, check.result) == ("client id", "fail")


@with_environment
async def test_disconnect_of_one_account_keeps_other_sessions(stage: Environment) -> None:
    other = replace(
        stage.spec, connection_id="c2", settings={**stage.spec.settings, "client_id": 8}
    )
    await stage.adapter.connect(stage.spec)
    await stage.adapter.connect(other)
    await stage.adapter.disconnect(other)
    await stage.adapter.disconnect(other)  # a repetition has no effect
    await stage.wait_until(lambda: [v.client_id for v in stage.tws.sessions] == [stage.client_id])
    assert stage.session.usable
    await stage.adapter.connect(other)
    assert len(stage.tws.sessions) == 2


@with_environment
async def test_connect_reports_the_cause(stage: Environment) -> None:
    without = {k: v for k, v in stage.spec.settings.items() if k != "host"}
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.connect(replace(stage.spec, settings=without))
    assert failed.value.code is Code.FIELD_REQUIRED
    await stage.tws.close()
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.connect(stage.spec)
    assert failed.value.code is Code.NOT_CONNECTED


@with_environment
async def test_fills_of_earlier_days_are_reported_as_a_sum(stage: Environment) -> None:
    await stage.submit(limit())
    stage.venue.fill(ID, "5000", "1.0900")
    await stage.crash()
    stage.venue.executions.clear()  # midnight
    await stage.adapter.account(stage.spec)
    found = await stage.find(ID) or []
    (total,) = [fill for report in found for fill in report.fills]
    assert (total.inferred, total.quantity, total.price) == (True, Decimal(5000), Decimal("1.09"))


@with_environment
async def test_clock_is_that_of_ibkr(stage: Environment) -> None:
    assert await stage.adapter.clock() is None
    stage.venue.clock_offset = 3600
    await stage.adapter.account(stage.spec)
    before = int(time.time())
    broker_time = await stage.adapter.clock()
    assert broker_time is not None
    assert before <= broker_time.timestamp() - 3600 <= time.time()

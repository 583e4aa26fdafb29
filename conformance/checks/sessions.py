"""C97–C104: connecting, losing the connection, disconnecting."""

from dataclasses import replace

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed
from conformance.assertions import describe_kinds, filled
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario, new_id


@check(97, "connect")
async def connect(scenario: Scenario) -> None:
    """Connecting works, also twice, and calls work afterwards."""
    await scenario.call(scenario.harness.adapter.connect(scenario.spec))
    await scenario.call(scenario.harness.adapter.connect(scenario.spec))
    await scenario.call(scenario.harness.adapter.account(scenario.spec))


@check(98, "connect to an unreachable host", HarnessFeature.HOST)
async def connect_unreachable(scenario: Scenario) -> None:
    """Connecting to a host where no server listens fails, if the account needs a session."""
    spec = await scenario.harness.with_mistake(HarnessFeature.HOST)
    try:
        await scenario.call(scenario.harness.adapter.connect(spec), spec)
    except ReadFailed:
        pass
    else:
        expect(not scenario.can.session, "it reports that it is connected")
    await scenario.harness.adapter.disconnect(spec)


@check(99, "disconnect", Capability.MARKET)
async def disconnect(scenario: Scenario) -> None:
    """After a session was closed, once or twice, the next call works."""
    entry = await scenario.buy()
    for spec in (scenario.spec, scenario.spec, None):
        await scenario.harness.adapter.disconnect(spec)
    await scenario.wait_until_held(entry.quantity)
    await scenario.harness.adapter.disconnect(scenario.spec)
    await scenario.close(entry)


@check(100, "disconnect one", Capability.MARKET, HarnessFeature.SECOND_ACCOUNT)
async def disconnect_one(scenario: Scenario) -> None:
    """Closing one account's session does not affect another account's calls."""
    other = await scenario.harness.second_account()
    await scenario.call(scenario.harness.adapter.account(other), other)
    await scenario.harness.adapter.disconnect(other)
    await scenario.buy()
    await scenario.call(scenario.harness.adapter.account(other), other)


@check(
    101,
    "the broker restarts",
    Capability.LIMIT,
    Capability.GTC,
    Capability.LOOKUP,
    HarnessFeature.RESTART,
)
async def restart(scenario: Scenario) -> None:
    """After a restart of the broker calls work again, and working orders are found."""
    entry = await scenario.place_working()
    await scenario.harness.restart()
    await scenario.until(lambda: scenario.is_open(entry), "the working order is not found again")
    await scenario.absent(new_id())

    await scenario.buy()


@check(
    102,
    "filled before both restarted",
    Capability.MARKET,
    Capability.LOOKUP,
    HarnessFeature.RESTART,
    HarnessFeature.NEW_PROCESS,
)
async def away(scenario: Scenario) -> None:
    """An order filled before the broker and our process restarted is found with its executions."""
    entry = await scenario.buy()
    await scenario.harness.restart()
    await scenario.harness.new_process()
    known = await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    expect(filled(known) == entry.quantity, f"{filled(known)} is found")
    await scenario.wait_until_held(entry.quantity)


@check(103, "the broker is down", Capability.MARKET, InjectedFault.DOWN)
async def down(scenario: Scenario) -> None:
    """While the broker is unreachable, reads fail and no order is reported as accepted; afterwards
    all works."""
    await scenario.call(scenario.harness.adapter.account(scenario.spec))
    await scenario.harness.begin(InjectedFault.DOWN)
    entry = scenario.order()
    try:
        answer = await scenario.submit(entry)
    except (NotSent, OutcomeUnknown):
        pass  # unknown: the order was written before the broken connection was noticed
    except BrokerError as error:
        raise CheckFailed(f"an order raises {type(error).__name__} {error}") from error
    else:
        raise CheckFailed(f"an order was accepted: {describe_kinds(answer)}")
    for name, read in (
        ("positions", scenario.positions),
        ("the look-up", lambda: scenario.find("x")),
    ):
        try:
            found = await read()
        except ReadFailed:
            continue
        raise CheckFailed(f"{name} returned {found}")
    await scenario.harness.end()

    async def back() -> bool:
        await scenario.positions()
        return True

    await scenario.until(back, "reads do not work again")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.expect_accepted(entry, 0)


@check(104, "capabilities")
async def claims(scenario: Scenario) -> None:
    """An account's capabilities are consistent, and the same on a second call."""
    can, now = scenario.can, scenario.harness.adapter.capabilities(scenario.spec)
    now = replace(now, lookup_horizon=can.lookup_horizon, fills_horizon=can.fills_horizon)
    expect(can == now, "it claims other capabilities now")  # a horizon may begin at midnight
    expect(can.order_types and can.times_in_force, "no order type or time in force at all")
    expect(can.position_modes, "no position mode at all")
    for horizon in (can.lookup_horizon, can.fills_horizon):
        expect(horizon is None or horizon.total_seconds() >= 0, "a horizon is negative")
    expect(
        scenario.harness.adapter.instrument_book(scenario.spec),
        "its list of instruments has no name",
    )
    expect(scenario.harness.adapter.broker_type, "it has no broker type")

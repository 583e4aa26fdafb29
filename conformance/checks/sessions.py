"""C97–C104: connecting, losing the line, and being let go."""

from dataclasses import replace

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed
from conformance.assertions import describe_kinds, filled
from conformance.harness import HarnessFeature, InjectedFault
from conformance.registry import Ability, CheckFailed, case, expect
from conformance.scenario import Scenario, new_id


@case(97, "connect")
async def connect(scenario: Scenario) -> None:
    """Connecting works, and once more, and calls go on."""
    await scenario.call(scenario.harness.adapter.connect(scenario.spec))
    await scenario.call(scenario.harness.adapter.connect(scenario.spec))
    await scenario.call(scenario.harness.adapter.account(scenario.spec))


@case(98, "connect in vain", HarnessFeature.HOST)
async def connect_unreachable(scenario: Scenario) -> None:
    """Connecting to a host where nobody listens, where that needs a session, says so."""
    spec = await scenario.harness.with_mistake(HarnessFeature.HOST)
    try:
        await scenario.call(scenario.harness.adapter.connect(spec), spec)
    except ReadFailed:
        pass
    else:
        expect(not scenario.can.session, "it says that it is connected")
    await scenario.harness.adapter.disconnect(spec)


@case(99, "disconnect", Ability.MARKET)
async def disconnect(scenario: Scenario) -> None:
    """After a session was ended, and when it is ended twice, the next call works."""
    entry = await scenario.buy()
    for spec in (scenario.spec, scenario.spec, None):
        await scenario.harness.adapter.disconnect(spec)
    await scenario.wait_until_held(entry.quantity)
    await scenario.harness.adapter.disconnect(scenario.spec)
    await scenario.close(entry)


@case(100, "disconnect one", Ability.MARKET, HarnessFeature.SECOND)
async def disconnect_one(scenario: Scenario) -> None:
    """Ending one account's session leaves another's calls as they were."""
    other = await scenario.harness.second()
    await scenario.call(scenario.harness.adapter.account(other), other)
    await scenario.harness.adapter.disconnect(other)
    await scenario.buy()
    await scenario.call(scenario.harness.adapter.account(other), other)


@case(
    101, "the broker restarts", Ability.LIMIT, Ability.GTC, Ability.LOOKUP, HarnessFeature.RESTART
)
async def restart(scenario: Scenario) -> None:
    """After the broker's process restarted calls work again, and what rested is found."""
    entry = await scenario.place_working()
    await scenario.harness.restart()
    await scenario.until(lambda: scenario.is_open(entry), "what rested is not seen again")
    await scenario.absent(new_id())

    await scenario.buy()


@case(
    102,
    "filled while we were away",
    Ability.MARKET,
    Ability.LOOKUP,
    HarnessFeature.RESTART,
    HarnessFeature.NEW_PROCESS,
)
async def away(scenario: Scenario) -> None:
    """What was filled before the broker and we both began anew is found, with its executions."""
    entry = await scenario.buy()
    await scenario.harness.restart()
    await scenario.harness.new_process()
    known = await scenario.reports_of(entry, lambda reports: filled(reports) >= entry.quantity)
    expect(filled(known) == entry.quantity, f"{filled(known)} is found")
    await scenario.wait_until_held(entry.quantity)


@case(103, "the broker is away", Ability.MARKET, InjectedFault.DOWN)
async def down(scenario: Scenario) -> None:
    """While the broker is out of reach reads fail and no order is told as taken; then all works."""
    await scenario.call(scenario.harness.adapter.account(scenario.spec))
    await scenario.harness.begin(InjectedFault.DOWN)
    entry = scenario.order()
    try:
        answer = await scenario.submit(entry)
    except (NotSent, OutcomeUnknown):
        pass  # unknown: it was written before anybody knew that the line is dead
    except BrokerError as error:
        raise CheckFailed(f"an order is told as {type(error).__name__} {error}") from error
    else:
        raise CheckFailed(f"an order was taken: {describe_kinds(answer)}")
    for name, read in (
        ("positions", scenario.positions),
        ("the look-up", lambda: scenario.find("x")),
    ):
        try:
            found = await read()
        except ReadFailed:
            continue
        raise CheckFailed(f"{name} says {found}")
    await scenario.harness.end()

    async def back() -> bool:
        await scenario.positions()
        return True

    await scenario.until(back, "reads do not come back")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.accepted(entry, 0)


@case(104, "what it claims")
async def claims(scenario: Scenario) -> None:
    """What an account claims fits together, and is the same when it is asked again."""
    can, now = scenario.can, scenario.harness.adapter.capabilities(scenario.spec)
    now = replace(now, lookup_horizon=can.lookup_horizon, fills_horizon=can.fills_horizon)
    expect(can == now, "it claims something else now")  # a horizon may begin at midnight
    expect(can.order_types and can.times_in_force, "no order type or time in force at all")
    expect(can.position_modes, "no position mode at all")
    for horizon in (can.lookup_horizon, can.fills_horizon):
        expect(horizon is None or horizon.total_seconds() >= 0, "it looks into the future")
    expect(
        scenario.harness.adapter.instrument_book(scenario.spec),
        "its list of instruments has no name",
    )
    expect(scenario.harness.adapter.broker_type, "it has no broker type")

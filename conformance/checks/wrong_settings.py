"""C89–C96: wrong settings and accounts that may not trade: an error that says what to do."""

from collections.abc import Sequence

from brokers.base import BrokerError, NotSent, ReadFailed, Rejected
from brokers.types import Check, CheckResult, ConnectionSpec
from common.reason_codes import Code
from conformance.assertions import describe_kinds
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import Ability, CheckFailed, case, expect
from conformance.scenario import Scenario, allow
from conformance.value_checks import exposed_secret

UNREACHABLE = (Code.BROKER_UNREACHABLE, Code.NOT_CONNECTED)
MISTAKES = (HarnessFeature.PASSWORD, HarnessFeature.ACCOUNT)
WRONG_ACCOUNT = (Code.UNKNOWN_ACCOUNT, Code.ACCOUNT_MISMATCH, Code.CREDENTIALS_REFUSED)


@case(89, "connection test")
async def connection_test(scenario: Scenario) -> None:
    """The connection test is a list of named lines, none failed on a good account, no secret."""
    answer = await _test(scenario, scenario.spec)
    failed = [f"{one.name}: {one.detail}" for one in answer if one.result is CheckResult.FAIL]
    expect(not failed, f"it fails on {'; '.join(failed)}")


@case(90, "wrong password", HarnessFeature.PASSWORD)
async def wrong_password(scenario: Scenario) -> None:
    """A wrong password is told as that by every call; nothing is sent, and the test says what to
    do."""
    spec = await scenario.harness.with_mistake(HarnessFeature.PASSWORD)
    await _is_refused_everywhere(scenario, spec, (Code.CREDENTIALS_REFUSED,))


@case(91, "unknown account", HarnessFeature.ACCOUNT)
async def unknown_account(scenario: Scenario) -> None:
    """An account that the broker does not know, or that the credentials are not of, is told as that
    by every call."""
    spec = await scenario.harness.with_mistake(HarnessFeature.ACCOUNT)
    await _is_refused_everywhere(scenario, spec, WRONG_ACCOUNT)


@case(92, "unreachable host", HarnessFeature.HOST)
async def unreachable(scenario: Scenario) -> None:
    """A host where nobody listens is told as that; an order is proven not to be sent."""
    spec = await scenario.harness.with_mistake(HarnessFeature.HOST)
    await _is_refused_everywhere(scenario, spec, UNREACHABLE)


@case(93, "trading is not allowed", Ability.MARKET, InjectedFault.DISABLED)
async def disabled(scenario: Scenario) -> None:
    """Where trading is not allowed an order is refused as that, and the test says what to do."""
    await scenario.harness.begin(InjectedFault.DISABLED)
    try:
        code, _ = await scenario.refusal(scenario.order())
    except (NotSent, ReadFailed) as error:
        code = error.code
    expect(code is Code.TRADING_DISABLED, f"it says {code}")
    lines = await _test(scenario, scenario.spec)
    bad = [one for one in lines if one.result is not CheckResult.OK]
    expect(bad, "the test finds nothing wrong")
    await scenario.harness.end()
    await scenario.buy()


@case(94, "reads without trading", InjectedFault.DISABLED)
async def disabled_reads(scenario: Scenario) -> None:
    """Where trading is not allowed the account can still be read."""
    await scenario.harness.begin(InjectedFault.DISABLED)
    await scenario.call(scenario.harness.adapter.account(scenario.spec))
    await scenario.positions()


@case(95, "another account's trouble", Ability.MARKET, HarnessFeature.SECOND)
async def others_unharmed(scenario: Scenario) -> None:
    """One connection's wrong password (or account) does no harm to another at the same broker."""
    mistakes = [one for one in MISTAKES if one not in scenario.harness.unavailable]
    if not mistakes:
        raise NotApplicable(scenario.harness.unavailable[HarnessFeature.PASSWORD])
    spec = await scenario.harness.with_mistake(mistakes[0])
    entry = await scenario.buy()
    try:
        await scenario.call(scenario.harness.adapter.account(spec), spec)
    except ReadFailed:
        pass
    other = await scenario.harness.second()
    state = await scenario.call(scenario.harness.adapter.account(other), other)
    expect(state.account == other.account, f"it is of account {state.account}")
    await scenario.close(entry)


@case(96, "what it asks its owner")
async def form(scenario: Scenario) -> None:
    """The form says what an owner fills in: each field once, with a label, secrets as secrets."""
    form = scenario.harness.adapter.form
    asks = [(one.key, one.label) for one in form.settings]
    asks += [(one.key, one.label) for one in form.secrets]
    expect(len({key for key, _ in asks}) == len(asks), "a field is asked for twice")
    for key, label in asks:
        expect(label, f"{key} has no label")
    secret = {one.key for one in form.secrets}
    keys = set(scenario.spec.credentials) - secret
    expect(not keys, f"credentials that the form does not ask for: {', '.join(sorted(keys))}")


async def _test(scenario: Scenario, spec: ConnectionSpec) -> Sequence[Check]:
    """Run the connection test and look at its lines."""
    answer = await scenario.call(scenario.harness.adapter.test(spec), spec)
    expect(answer, "the test has no lines")
    names = [one.name for one in answer]
    expect(len(set(names)) == len(names), f"two lines have one name: {', '.join(names)}")
    for one in answer:
        expect(one.name and one.detail, f"a line without words: {one}")
        expect(one.result is CheckResult.OK or one.hint, f"{one.name}: what to do is not said")
        name = exposed_secret(f"{one.detail} {one.hint}", spec)
        expect(not name, f"{one.name} contains the credential {name}")
    return answer


async def _is_refused_everywhere(
    scenario: Scenario, spec: ConnectionSpec, codes: Sequence[Code]
) -> None:
    """The test fails with a hint; connect, reads and orders tell one of these codes."""
    adapter = scenario.harness.adapter
    lines = await _test(scenario, spec)
    expect(any(one.result is CheckResult.FAIL for one in lines), "the test finds nothing wrong")
    try:
        await scenario.call(adapter.account(spec), spec)
    except ReadFailed as error:
        expect(error.code in codes, f"the account's read says {error}")
    else:
        raise CheckFailed("the account is read")
    request = scenario.order(connection_id=spec.connection_id, account=spec.account)
    try:
        answer = await scenario.call(adapter.submit(spec, request, allow), spec)
    except (NotSent, Rejected) as error:
        expect(error.code in codes, f"an order is told as {error}")
    except BrokerError as error:
        raise CheckFailed(f"an order is told as {type(error).__name__} {error}") from error
    else:
        raise CheckFailed(f"an order was taken: {describe_kinds(answer)}")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.accepted(request, 0)
    await adapter.disconnect(spec)

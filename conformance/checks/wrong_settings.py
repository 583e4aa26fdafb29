"""C89–C96: wrong settings and disabled accounts give an error that states what to do."""

from collections.abc import Sequence

from brokers.base import BrokerError, NotSent, ReadFailed, Rejected
from brokers.types import Check, CheckResult, ConnectionSpec
from common.reason_codes import Code
from conformance.assertions import describe_kinds
from conformance.harness import HarnessFeature, InjectedFault, NotApplicable
from conformance.registry import Capability, CheckFailed, check, expect
from conformance.scenario import Scenario, allow
from conformance.value_checks import exposed_secret

UNREACHABLE = (Code.BROKER_UNREACHABLE, Code.NOT_CONNECTED)
MISTAKES = (HarnessFeature.PASSWORD, HarnessFeature.ACCOUNT)
WRONG_ACCOUNT = (Code.UNKNOWN_ACCOUNT, Code.ACCOUNT_MISMATCH, Code.CREDENTIALS_REFUSED)


@check(89, "connection test")
async def connection_test(scenario: Scenario) -> None:
    """The connection test is a list of named lines: none fails on a good account, none has a
    secret."""
    answer = await _test(scenario, scenario.spec)
    failed = [f"{one.name}: {one.detail}" for one in answer if one.result is CheckResult.FAIL]
    expect(not failed, f"it fails: {'; '.join(failed)}")


@check(90, "wrong password", HarnessFeature.PASSWORD)
async def wrong_password(scenario: Scenario) -> None:
    """With a wrong password every call raises that code; no order is sent, and the test states
    what to do."""
    spec = await scenario.harness.with_mistake(HarnessFeature.PASSWORD)
    await _is_refused_everywhere(scenario, spec, (Code.CREDENTIALS_REFUSED,))


@check(91, "unknown account", HarnessFeature.ACCOUNT)
async def unknown_account(scenario: Scenario) -> None:
    """With an account that does not exist or does not match the credentials, every call raises that
    code."""
    spec = await scenario.harness.with_mistake(HarnessFeature.ACCOUNT)
    await _is_refused_everywhere(scenario, spec, WRONG_ACCOUNT)


@check(92, "unreachable host", HarnessFeature.HOST)
async def unreachable(scenario: Scenario) -> None:
    """With a host where no server listens, every call raises that code; an order is NotSent."""
    spec = await scenario.harness.with_mistake(HarnessFeature.HOST)
    await _is_refused_everywhere(scenario, spec, UNREACHABLE)


@check(93, "trading is not allowed", Capability.MARKET, InjectedFault.DISABLED)
async def disabled(scenario: Scenario) -> None:
    """If trading is disabled, an order is refused with that code; the test states what to do."""
    await scenario.harness.begin(InjectedFault.DISABLED)
    try:
        code, _ = await scenario.refusal(scenario.order())
    except (NotSent, ReadFailed) as error:
        code = error.code
    expect(code is Code.TRADING_DISABLED, f"its code is {code}")
    lines = await _test(scenario, scenario.spec)
    bad = [one for one in lines if one.result is not CheckResult.OK]
    expect(bad, "the test reports no problem")
    await scenario.harness.end()
    await scenario.buy()


@check(94, "reads without trading", InjectedFault.DISABLED)
async def disabled_reads(scenario: Scenario) -> None:
    """If trading is disabled, the account can still be read."""
    await scenario.harness.begin(InjectedFault.DISABLED)
    await scenario.call(scenario.harness.adapter.account(scenario.spec))
    await scenario.positions()


@check(95, "another account's trouble", Capability.MARKET, HarnessFeature.SECOND_ACCOUNT)
async def others_unharmed(scenario: Scenario) -> None:
    """One connection's wrong password (or account) does not affect another at the same broker."""
    mistakes = [one for one in MISTAKES if one not in scenario.harness.unavailable]
    if not mistakes:
        raise NotApplicable(scenario.harness.unavailable[HarnessFeature.PASSWORD])
    spec = await scenario.harness.with_mistake(mistakes[0])
    entry = await scenario.buy()
    try:
        await scenario.call(scenario.harness.adapter.account(spec), spec)
    except ReadFailed:
        pass
    other = await scenario.harness.second_account()
    state = await scenario.call(scenario.harness.adapter.account(other), other)
    expect(state.account == other.account, f"it names account {state.account}")
    await scenario.close(entry)


@check(96, "connection form")
async def form(scenario: Scenario) -> None:
    """The form has each field once, with a label; secrets are marked as secrets."""
    form = scenario.harness.adapter.form
    fields = [(one.key, one.label) for one in form.settings]
    fields += [(one.key, one.label) for one in form.secrets]
    expect(len({key for key, _ in fields}) == len(fields), "a field is there twice")
    for key, label in fields:
        expect(label, f"{key} has no label")
    secret = {one.key for one in form.secrets}
    keys = set(scenario.spec.credentials) - secret
    expect(not keys, f"credentials without a field in the form: {', '.join(sorted(keys))}")


async def _test(scenario: Scenario, spec: ConnectionSpec) -> Sequence[Check]:
    """Run the connection test and check its lines."""
    answer = await scenario.call(scenario.harness.adapter.test(spec), spec)
    expect(answer, "the test has no lines")
    names = [one.name for one in answer]
    expect(len(set(names)) == len(names), f"two lines have the same name: {', '.join(names)}")
    for one in answer:
        expect(one.name and one.detail, f"a line without a name or detail: {one}")
        expect(one.result is CheckResult.OK or one.hint, f"{one.name}: the hint is missing")
        name = exposed_secret(f"{one.detail} {one.hint}", spec)
        expect(not name, f"{one.name} contains the credential {name}")
    return answer


async def _is_refused_everywhere(
    scenario: Scenario, spec: ConnectionSpec, codes: Sequence[Code]
) -> None:
    """Check that the test fails with a hint, and that reads and orders raise one of these codes."""
    adapter = scenario.harness.adapter
    lines = await _test(scenario, spec)
    expect(any(one.result is CheckResult.FAIL for one in lines), "the test reports no problem")
    try:
        await scenario.call(adapter.account(spec), spec)
    except ReadFailed as error:
        expect(error.code in codes, f"reading the account raises {error}")
    else:
        raise CheckFailed("the account can be read")
    request = scenario.order(connection_id=spec.connection_id, account=spec.account)
    try:
        answer = await scenario.call(adapter.submit(spec, request, allow), spec)
    except (NotSent, Rejected) as error:
        expect(error.code in codes, f"an order raises {error}")
    except BrokerError as error:
        raise CheckFailed(f"an order raises {type(error).__name__} {error}") from error
    else:
        raise CheckFailed(f"an order was accepted: {describe_kinds(answer)}")
    if HarnessFeature.JOURNAL not in scenario.harness.unavailable:
        await scenario.expect_accepted(request, 0)
    await adapter.disconnect(spec)

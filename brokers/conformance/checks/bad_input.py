"""C89–C96: wrong settings and accounts that may not trade: an error that says what to do."""

from collections.abc import Sequence

from brokers.base import BrokerError, NotSent, ReadFailed, Rejected
from brokers.conformance.case import Ability, Failed, case, expect
from brokers.conformance.scene import Scene, free
from brokers.conformance.shapes import told_secret
from brokers.conformance.stage import NotApplicable, Offer, Trouble
from brokers.conformance.words import kinds
from brokers.messages import Check, CheckResult, ConnectionSpec
from common.codes import Code

NOT_THERE = (Code.BROKER_UNREACHABLE, Code.NOT_CONNECTED)
MISTAKES = (Offer.PASSWORD, Offer.ACCOUNT)
WHOSE = (Code.UNKNOWN_ACCOUNT, Code.OTHER_ACCOUNT, Code.CREDENTIALS_REFUSED)


@case(89, "connection test")
async def connection_test(scene: Scene) -> None:
    """The connection test is a list of named lines, none failed on a good account, no secret."""
    told = await _test(scene, scene.spec)
    failed = [f"{one.name}: {one.detail}" for one in told if one.result is CheckResult.FAIL]
    expect(not failed, f"it fails on {'; '.join(failed)}")


@case(90, "wrong password", Offer.PASSWORD)
async def wrong_password(scene: Scene) -> None:
    """A wrong password is told as that by every call; nothing is sent, and the test says what to
    do."""
    spec = await scene.stage.mistaken(Offer.PASSWORD)
    await _is_refused_everywhere(scene, spec, (Code.CREDENTIALS_REFUSED,))


@case(91, "unknown account", Offer.ACCOUNT)
async def unknown_account(scene: Scene) -> None:
    """An account that the broker does not know, or that the credentials are not of, is told as that
    by every call."""
    spec = await scene.stage.mistaken(Offer.ACCOUNT)
    await _is_refused_everywhere(scene, spec, WHOSE)


@case(92, "unreachable host", Offer.HOST)
async def unreachable(scene: Scene) -> None:
    """A host where nobody listens is told as that; an order is proven not to be sent."""
    spec = await scene.stage.mistaken(Offer.HOST)
    await _is_refused_everywhere(scene, spec, NOT_THERE)


@case(93, "trading is not allowed", Ability.MARKET, Trouble.DISABLED)
async def disabled(scene: Scene) -> None:
    """Where trading is not allowed an order is refused as that, and the test says what to do."""
    await scene.stage.begin(Trouble.DISABLED)
    try:
        code, _ = await scene.refusal(scene.order())
    except (NotSent, ReadFailed) as error:
        code = error.code
    expect(code is Code.TRADING_DISABLED, f"it says {code}")
    lines = await _test(scene, scene.spec)
    bad = [one for one in lines if one.result is not CheckResult.OK]
    expect(bad, "the test finds nothing wrong")
    await scene.stage.end()
    await scene.bought()


@case(94, "reads without trading", Trouble.DISABLED)
async def disabled_reads(scene: Scene) -> None:
    """Where trading is not allowed the account can still be read."""
    await scene.stage.begin(Trouble.DISABLED)
    await scene.ask(scene.stage.adapter.account(scene.spec))
    await scene.positions()


@case(95, "another account's trouble", Ability.MARKET, Offer.SECOND)
async def others_unharmed(scene: Scene) -> None:
    """One connection's wrong password (or account) does no harm to another at the same broker."""
    mistakes = [one for one in MISTAKES if one not in scene.stage.lacks]
    if not mistakes:
        raise NotApplicable(scene.stage.lacks[Offer.PASSWORD])
    spec = await scene.stage.mistaken(mistakes[0])
    entry = await scene.bought()
    try:
        await scene.ask(scene.stage.adapter.account(spec), spec)
    except ReadFailed:
        pass
    other = await scene.stage.second()
    state = await scene.ask(scene.stage.adapter.account(other), other)
    expect(state.account == other.account, f"it is of account {state.account}")
    await scene.close(entry)


@case(96, "what it asks its owner")
async def form(scene: Scene) -> None:
    """The form says what an owner fills in: each field once, with a label, secrets as secrets."""
    form = scene.stage.adapter.form
    asks = [(one.key, one.label) for one in form.settings]
    asks += [(one.key, one.label) for one in form.secrets]
    expect(len({key for key, _ in asks}) == len(asks), "a field is asked for twice")
    for key, label in asks:
        expect(label, f"{key} has no label")
    secret = {one.key for one in form.secrets}
    asked = set(scene.spec.credentials) - secret
    expect(not asked, f"credentials that the form does not ask for: {', '.join(sorted(asked))}")


async def _test(scene: Scene, spec: ConnectionSpec) -> Sequence[Check]:
    """Run the connection test and look at its lines."""
    told = await scene.ask(scene.stage.adapter.test(spec), spec)
    expect(told, "the test has no lines")
    names = [one.name for one in told]
    expect(len(set(names)) == len(names), f"two lines have one name: {', '.join(names)}")
    for one in told:
        expect(one.name and one.detail, f"a line without words: {one}")
        expect(one.result is CheckResult.OK or one.hint, f"{one.name}: what to do is not said")
        name = told_secret(f"{one.detail} {one.hint}", spec)
        expect(not name, f"{one.name} contains the credential {name}")
    return told


async def _is_refused_everywhere(scene: Scene, spec: ConnectionSpec, codes: Sequence[Code]) -> None:
    """The test fails with a hint; connect, reads and orders tell one of these codes."""
    adapter = scene.stage.adapter
    lines = await _test(scene, spec)
    expect(any(one.result is CheckResult.FAIL for one in lines), "the test finds nothing wrong")
    try:
        await scene.ask(adapter.account(spec), spec)
    except ReadFailed as error:
        expect(error.code in codes, f"the account's read says {error}")
    else:
        raise Failed("the account is read")
    request = scene.order(connection_id=spec.connection_id, account=spec.account)
    try:
        told = await scene.ask(adapter.submit(spec, request, free), spec)
    except (NotSent, Rejected) as error:
        expect(error.code in codes, f"an order is told as {error}")
    except BrokerError as error:
        raise Failed(f"an order is told as {type(error).__name__} {error}") from error
    else:
        raise Failed(f"an order was taken: {kinds(told)}")
    if Offer.JOURNAL not in scene.stage.lacks:
        await scene.accepted(request, 0)
    await adapter.disconnect(spec)

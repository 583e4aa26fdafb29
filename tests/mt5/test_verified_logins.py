"""Several owners' accounts share a terminal that stays logged in: who says no password that the
server has accepted reads nothing of the account that is logged in."""

from dataclasses import replace

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.mt5 import verified_logins
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import CancelRequest, CheckResult, ConnectionSpec, ModifyRequest
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, LIMIT, bought, no_guard, order, run, spec, submit


def stranger(password: str | None) -> ConnectionSpec:
    """Another user's connection to the account that is logged in."""
    login = {} if password is None else {"password": password}
    return replace(spec(), connection_id="c-stranger", credentials=login)


@pytest.mark.parametrize("password", [None, "", "guessed"])
def test_unverified_connection_reads_and_sends_nothing(
    venue: FakeTerminal, adapter: Mt5Adapter, password: str | None
) -> None:
    number = bought(adapter)
    other = stranger(password)
    for call in (
        adapter.positions(other),
        adapter.account(other),
        adapter.find_order(other, CID),
        adapter.quote(other, "EURUSD"),
        adapter.connect(other),
    ):
        with pytest.raises(ReadFailed) as failed:
            run(call)
        assert failed.value.code is Code.CREDENTIALS_REFUSED
    for sent in (
        adapter.submit(other, order("fcxother0000000000"), no_guard),
        adapter.modify(other, ModifyRequest(CID, number, "EURUSD", None, None)),
        adapter.cancel(other, CancelRequest(CID, "", "EURUSD")),
    ):
        with pytest.raises(NotSent) as unsent:
            run(sent)
        assert unsent.value.code is Code.CREDENTIALS_REFUSED
    (line,) = run(adapter.test(other))
    assert (line.name, line.result) == ("login", CheckResult.FAIL)
    assert venue.accepted() == [CID]


def test_owner_continues_after_an_unverified_login_attempt(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    submit(adapter, order(**LIMIT))
    with pytest.raises(ReadFailed):
        run(adapter.positions(stranger("guessed")))
    assert [one.client_order_id for one in run(adapter.open_orders(spec()))] == [CID]


def test_wrong_password_is_retried_only_after_a_pause(
    venue: FakeTerminal, adapter: Mt5Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try throws the right login out of the real terminal."""
    bought(adapter)

    def logins() -> int:
        return int(venue.state()["calls"].count("login"))

    for _ in range(3):
        with pytest.raises(ReadFailed):
            run(adapter.positions(stranger("guessed")))
    assert logins() == 1
    monkeypatch.setattr(verified_logins, "RETRY_SECONDS", 0.0)
    with pytest.raises(ReadFailed):
        run(adapter.positions(stranger("guessed")))
    assert logins() == 2


def test_changed_password_is_verified_again(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.configure_account(password="new one")
    known = replace(spec(), credentials={"password": "new one"})
    assert len(run(adapter.positions(known))) == 1
    run(adapter.positions(known))
    assert venue.state()["calls"].count("login") == 1


def test_two_connections_of_one_owner_need_one_login(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    bought(adapter)
    twin = replace(spec(), connection_id="c-twin")
    assert len(run(adapter.positions(twin))) == 1
    assert "login" not in venue.state()["calls"]


def test_login_proofs_hold_no_password_and_are_bounded() -> None:
    known = verified_logins.VerifiedLogins()
    proof = known.digest_of(spec(), 1001)
    known.accept(proof)
    assert known.is_accepted(proof)
    assert b"secret" not in proof
    for number in range(verified_logins.MAX_KEPT):
        known.accept(str(number).encode())
    assert not known.is_accepted(proof)

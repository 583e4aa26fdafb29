"""Brokers' names of symbols, and hosts that a connection may name."""

import ipaddress
import socket
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from common.errors import InvalidInputError
from common.operational.kinds import OwnedNetwork
from common.reason_codes import Code
from connections.account_settings import hosts
from connections.health import status_updates
from connections.health.host_policy import deactivate_disallowed
from connections.models import ConnectionHealth
from connections.symbols import Listed, Preferred, canonical, preferred, resolve
from tests.connections import make
from tests.operational import set_setting
from users.models import User

NAMES = {
    "EURUSD": "EUR/USD", "EUR_USD": "EUR/USD", "EURUSD.m": "EUR/USD", "EURUSD-pro": "EUR/USD",
    "eur/usd": "EUR/USD", "EURUSDm": "EUR/USD", "EURUSD+": "EUR/USD", "EUR/USD.m": "EUR/USD",
    "GBPUSD_i": "GBP/USD", "XAUUSD.r": "XAU/USD", "BTCUSDT": "BTC/USDT", "AAPL": "AAPL/USD",
    "#AAPL": "AAPL/USD", "AAPL.NAS": "AAPL/USD", "BRK.B": "BRK.B/USD", "DE40.cash": "DE40/EUR",
}  # fmt: skip


@pytest.mark.parametrize(("text", "pair"), NAMES.items())
def test_broker_symbol_is_parsed(text: str, pair: str) -> None:
    assert canonical(text) == pair
    assert canonical(pair) == pair


@pytest.mark.parametrize(
    "text",
    ["", " ", "HELLO", "EURUSX", "EUREUR", "EURUSDx", "ЕURUSD", "SHOP.TO", "EURUSD.123456789",
     "EUR/USD/JPY", "A" * 500],
)  # fmt: skip
def test_ambiguous_broker_symbol_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        canonical(text)
    assert refused.value.code is Code.SYMBOL_UNKNOWN


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        pair = canonical(text)
    except InvalidInputError:
        return
    assert canonical(pair) == pair


MINIS = ["GBPUSD.m", "USDJPY.m"]


@pytest.mark.parametrize(
    ("pair", "symbols", "others", "chosen", "rivals"),
    [
        ("EUR/USD", ["X"], [], "X", ()),
        ("EUR/USD", ["EURUSD.m", "EURUSD"], MINIS, "EURUSD", ()),  # a plain name comes first
        ("EUR/USD", ["eurusd", "EURUSDm"], [], "eurusd", ()),
        ("AAPL/USD", ["#AAPL", "AAPL.NAS", "AAPL"], [], "AAPL", ()),
        ("BTC/USDT", ["BTC/USDT:USDT", "BTC/USDT"], [], "BTC/USDT", ()),
        # The account's own suffix: twice as frequent as those of the rivals.
        ("EUR/USD", ["EURUSD.x", "EURUSD.m"], MINIS[:1], "EURUSD.m", ()),
        ("EUR/USD", ["EURUSD.x", "EURUSD.m", "EURUSD.y"], MINIS[:1], "EURUSD.m",
         ("EURUSD.x", "EURUSD.y")),
        ("EUR/USD", ["EURUSD.x", "EURUSD.m", "EURUSD.y"], [*MINIS, "USDCHF.m"], "EURUSD.m", ()),
        ("XAU/USD", ["GOLD", "XAUUSD.m"], MINIS, "XAUUSD.m", ()),
        ("XAU/USD", ["GOLD", "XAUUSD.m"], [], "GOLD", ("XAUUSD.m",)),
        # Nothing decides.
        ("EUR/USD", ["EURUSD.b", "EURUSD.a"], [], "EURUSD.a", ("EURUSD.b",)),
        ("EUR/USD", ["EURUSDm", "mEURUSD", "EURUSD.pro"], [], "EURUSDm", ("mEURUSD", "EURUSD.pro")),
        ("EUR/USD", ["EURUSD", "EUR/USD"], MINIS, "EURUSD", ("EUR/USD",)),
        ("EUR/USD", ["EURUSD.m", "EUR/USD.m"], MINIS, "EURUSD.m", ("EUR/USD.m",)),
        ("AAPL/USD", ["#AAPL", "AAPL.NAS"], [], "#AAPL", ("AAPL.NAS",)),
    ],
)  # fmt: skip
def test_best_fitting_symbol_of_a_pair_is_chosen_and_its_rivals_are_named(
    pair: str, symbols: list[str], others: list[str], chosen: str, rivals: tuple[str, ...]
) -> None:
    listed = [Listed(symbol, pair) for symbol in symbols]
    listed += [Listed(name, f"{name[:3]}/{name[3:6]}") for name in others]
    assert preferred(listed)[pair] == Preferred(chosen, rivals)
    assert preferred(listed[::-1]) == preferred(listed)


def test_two_complete_lists_of_suffixed_symbols_are_ambiguous() -> None:
    """60 pairs with `.std` and 58 of them with `.ecn`: the three more are no reason to choose."""
    pairs = [f"{chr(65 + n // 26)}{chr(65 + n % 26)}X/USD" for n in range(60)]
    listed = [Listed(f"{pair.replace('/', '')}.std", pair) for pair in pairs]
    listed += [Listed(f"{pair.replace('/', '')}.ecn", pair) for pair in pairs[:58]]
    ambiguous = {pair for pair, choice in preferred(listed).items() if choice.rivals}
    assert ambiguous == {*pairs[:58]}


def test_owners_symbol_choice_comes_first() -> None:
    assert resolve("EUR/USD", symbol_map={"EUR/USD": "A"}, preferred_symbol="B") == "A"
    assert resolve("EUR/USD", symbol_map=None, preferred_symbol="B") == "B"
    assert resolve("EUR/USD", symbol_map={}, preferred_symbol=None) is None


OURS = """
127.0.0.1 127.1 2130706433 0x7f000001 10.1.2.3 192.168.0.1:4001 169.254.169.254 localhost
LOCALHOST. broker.internal redis [::1]:80 ::ffff:127.0.0.1 fe80::1%eth0 fd00::1 0.0.0.0
fec0::1 64:ff9b::a00:7 64:ff9b::7f00:1 64:ff9b:1::808:808 2002:a00:7:: 2002:7f00:1::1 ::10.0.0.7
2001:0:808:808::f5ff:fff8 ::ffff:0:10.0.0.7 [64:ff9b::a9fe:a9fe]:4001
http://127.0.0.1/x https://user:pw@10.0.0.1:8443/ 224.0.0.1 100.64.0.1
""".split()  # noqa: SIM905


@pytest.mark.parametrize("host", OURS)
def test_internal_network_is_refused_in_every_notation(host: str, settings: Settings) -> None:
    set_setting("networks.broker_networks", ())
    with pytest.raises(InvalidInputError) as refused:
        hosts.check_named({"host": host})
    assert refused.value.code is Code.HOST_NOT_ALLOWED


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "broker.example.com", "https://api.example.com/v1", ""]
)
def test_public_hosts_need_no_permission(host: str, settings: Settings) -> None:
    set_setting("networks.broker_networks", ())
    hosts.check_named({"host": host})


def test_public_name_resolving_to_internal_address_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolved(host: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, 0)) for found in answers]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    answers = ["8.8.8.8", "10.0.0.7"]
    for allowed in ((), (ipaddress.ip_network("10.0.0.0/8"),)):
        set_setting("networks.broker_networks", allowed)
        with pytest.raises(InvalidInputError) as refused:
            hosts.check_resolved({"host": "rebind.example.com"})
        assert refused.value.code is Code.HOST_NOT_ALLOWED
        assert "Enter the address" in refused.value.detail
        assert "10.0.0.7" not in refused.value.detail
    hosts.check_resolved({"host": "10.0.0.7"})
    answers = ["8.8.8.8"]
    hosts.check_resolved({"host": "rebind.example.com"})


@pytest.mark.parametrize(
    ("address", "may"),
    [("8.8.8.8", True), ("2001:4860:4860::8888", True), ("8.8.4.4", False), ("10.0.0.7", False),
     ("127.0.0.1", False), ("::1", False), ("fe80::1%eth0", False), ("::ffff:10.0.0.7", False),
     ("::ffff:8.8.4.4", False), ("64:ff9b::808:404", False), ("2002:808:404::", False),
     ("64:ff9b::808:808", True), ("2002:808:808::1", True), ("64:ff9b:1::808:808", False),
     ("2001:0:a00:1::f7f7:f7f7", True), ("2001:0:808:808::f5ff:fff8", False),
     ("64:ff9b::a00:7", False), ("::10.0.0.7", False), ("::ffff:0:10.0.0.7", False),
     ("224.0.0.1", False), ("100.64.0.1", False)],
)  # fmt: skip
def test_name_may_resolve_to_public_unowned_address(
    address: str, may: bool, settings: Settings
) -> None:
    set_setting("networks.broker_networks", (ipaddress.ip_network("0.0.0.0/0"),))
    set_setting(
        "networks.gateway_owners", (OwnedNetwork(ipaddress.ip_network("8.8.4.4"), "alice"),)
    )
    assert hosts.may_resolve_to(ipaddress.ip_address(address)) is may


def test_most_specific_line_decides_gateway_owner(settings: Settings) -> None:
    set_setting("networks.broker_networks", (ipaddress.ip_network("10.0.0.0/8"),))
    set_setting(
        "networks.gateway_owners",
        (
            OwnedNetwork(ipaddress.ip_network("10.0.0.5"), "bob"),
            OwnedNetwork(ipaddress.ip_network("10.0.0.0/24"), "alice"),
            OwnedNetwork(ipaddress.ip_network("10.0.0.0/24"), "carol"),
            OwnedNetwork(ipaddress.ip_network("10.0.0.0/8"), "dora"),
        ),
    )

    def may(username: str) -> list[str]:
        addresses = ("10.0.0.5", "10.0.0.6", "10.1.0.1")
        return [address for address in addresses if is_allowed(address, username)]

    def is_allowed(address: str, username: str) -> bool:
        try:
            hosts.check_named({"host": address}, username=username)
        except InvalidInputError:
            return False
        return True

    assert [may(name) for name in ("alice", "bob", "carol", "dora")] == [
        ["10.0.0.6"], ["10.0.0.5"], ["10.0.0.6"], ["10.1.0.1"],
    ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("old", "new"), [("alice", "zoe"), ("mallory", "alice")])
def test_named_gateway_owner_keeps_it(old: str, new: str, settings: Settings) -> None:
    set_setting(
        "networks.gateway_owners", (OwnedNetwork(ipaddress.ip_network("10.0.0.5"), "alice"),)
    )
    renamed, other = make.user(old, password="x"), make.user("other", password="x")
    renamed.clean()
    renamed.username = new
    with pytest.raises(ValidationError) as refused:
        renamed.full_clean()
    assert "networks.gateway_owners" in refused.value.message_dict["username"][0]
    other.username = "others"
    other.full_clean()
    User(username="alice" if old != "alice" else "new", password="x").full_clean()


def test_gateway_of_one_user_is_refused_to_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway asks for no password: who could name it would trade what is logged in there."""
    set_setting("networks.broker_networks", (ipaddress.ip_network("10.0.0.0/8"),))
    set_setting(
        "networks.gateway_owners",
        (
            OwnedNetwork(ipaddress.ip_network("10.0.0.5"), "alice"),
            OwnedNetwork(ipaddress.ip_network("8.8.8.8"), "alice"),
        ),
    )
    hosts.check_named({"host": "10.0.0.5"}, username="alice")
    hosts.check_named({"host": "10.0.0.6"}, username="bob")
    for host in (
        "10.0.0.5", "::ffff:10.0.0.5", "8.8.8.8", "134744072", "64:ff9b::808:808", "2002:a00:5::",
    ):  # fmt: skip
        with pytest.raises(InvalidInputError) as refused:
            hosts.check_named({"host": host}, username="bob")
        assert refused.value.code is Code.HOST_NOT_ALLOWED
        assert "another user's gateway" in refused.value.detail
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [entry])
    hosts.check_resolved({"host": "8.8.8.8"}, username="alice")
    for username in ("alice", "bob"):  # the name may lead elsewhere by the next connect
        with pytest.raises(InvalidInputError):
            hosts.check_resolved({"host": "gw.example.com"}, username=username)


@pytest.mark.usefixtures("inline_commits")
def test_account_at_forbidden_gateway_is_deactivated_with_message(
    settings: Settings,
) -> None:
    """networks.gateway_owners is set after a user has already connected there."""
    set_setting("networks.broker_networks", (ipaddress.ip_network("10.0.0.0/8"),))
    alice, bob = make.user("alice"), make.user("bob")
    here, there = {"host": "10.0.0.5"}, {"host": "10.0.0.6"}
    owners, strangers, other = (
        make.connection(user, type="ibkr", settings=at)
        for user, at in ((alice, here), (bob, here), (bob, there))
    )
    lanes = {owners.lane, strangers.lane, other.lane}
    assert deactivate_disallowed(lanes) == []
    set_setting(
        "networks.gateway_owners", (OwnedNetwork(ipaddress.ip_network("10.0.0.5"), "alice"),)
    )
    assert deactivate_disallowed({"sessions.77"}) == []  # checked by the worker that takes its lane
    assert deactivate_disallowed(lanes) == [strangers.pk]
    health = ConnectionHealth.objects.get(pk=strangers.pk)
    assert (health.status, health.needs_test, health.reconciled_at) == ("ERROR", True, None)
    assert "is another user's gateway" in health.last_error
    status_updates.mark_active([strangers.pk])  # an answer is no permission
    assert ConnectionHealth.objects.get(pk=strangers.pk).status == "ERROR"
    assert deactivate_disallowed(lanes) == []  # once is enough
    set_setting("networks.broker_networks", ())
    assert set(deactivate_disallowed(lanes)) == {owners.pk, other.pk}

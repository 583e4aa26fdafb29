"""Settings that stay while something is open: pure, over every kind's own form."""

from typing import Any

import pytest

from brokers.connection_form import Form, OpenChangeRule, Secret, Setting, SettingType
from brokers.registry import BUILT_IN, form_of
from common.reason_codes import Code

PLACES = (SettingType.HOST, SettingType.FOLDER, SettingType.SYMBOLS)
ES, DAX = {"exchange": "EUREX", "month": "202612"}, {"exchange": "EUREX", "month": "202703"}


@pytest.mark.parametrize(
    ("kind", "before", "after", "open_symbols", "refused"),
    [
        # Where an account is, and what it is.
        ("mt5", {"server": "A-Live"}, {"server": "A-Live2"}, {"EURUSD"}, ["server"]),
        ("mt5", {"server": "A-Live"}, {"server": "A-Live2"}, set(), []),
        ("mt5", {"terminal": "one"}, {"terminal": "two"}, {"EURUSD"}, []),
        ("mt4", {"folder": "one"}, {"folder": "two"}, {"EURUSD"}, ["folder"]),
        ("mt5-dwx", {"folder": "one"}, {"folder": "two"}, {"EURUSD"}, ["folder"]),
        ("crypto", {"market": "spot"}, {"market": "swap"}, {"BTC/USDT"}, ["market"]),
        ("crypto", {}, {"market": "spot"}, {"BTC/USDT"}, []),  # it was that all along
        ("crypto", {}, {"sandbox": True}, {"BTC/USDT"}, ["sandbox"]),
        ("crypto", {"currency": "USDT"}, {"currency": "EUR"}, {"BTC/USDT"}, ["currency"]),
        ("crypto", {"reply_timeout": 1}, {"reply_timeout": 2}, {"BTC/USDT"}, []),
        ("ibkr", {"client_id": 3}, {"client_id": 4}, {"EURUSD"}, ["client_id"]),
        ("ibkr", {"host": "a"}, {"host": "b"}, {"EURUSD"}, []),  # an account's number is one only
        ("paper", {}, {"position_mode": "NETTING"}, {"EURUSD"}, ["position_mode"]),
        # A list names all that is there.
        ("crypto", {"symbols": ["A/B"]}, {"symbols": ["A/B", "C/D"]}, {"A/B"}, []),
        ("crypto", {"symbols": ["A/B", "C/D"]}, {"symbols": ["A/B"]}, {"A/B"}, []),
        ("crypto", {"symbols": ["A/B"]}, {"symbols": ["a/b"]}, {"A/B"}, ["symbols"]),
        ("crypto", {"symbols": ["A/B", "C/D"]}, {"symbols": ["C/D"]}, {"A/B"}, ["symbols"]),
        ("crypto", {"symbols": ["A/B", "C/D"]}, {"symbols": ["A/B"]}, {"E/F"}, ["symbols"]),
        ("crypto", {"symbols": ["A/B"]}, {"symbols": ["A/B", "E/F"]}, {"E/F"}, []),
        ("ibkr", {}, {"symbols": ["EURUSD"]}, {"EURUSD"}, []),
        ("ibkr", {}, {"symbols": ["AAPL"]}, {"EURUSD"}, ["symbols"]),
        ("ibkr", {"symbols": ["AAPL"]}, {}, {"AAPL"}, ["symbols"]),
        # A name's entry states what the setting means.
        ("ibkr", {"symbols": {"X": ES}}, {"symbols": {"X": DAX}}, {"X"}, ["symbols"]),
        ("ibkr", {"symbols": {"X": ES}}, {"symbols": {"X": DAX}}, set(), []),
        ("ibkr", {"symbols": {"X": ES, "Y": ES}}, {"symbols": {"X": ES, "Y": DAX}}, {"X"}, []),
        ("ibkr", {"symbols": ["X"]}, {"symbols": {"X": ES}}, {"X"}, ["symbols"]),
        ("mt4", {"symbols": {"G": {"contract_size": 1}}}, {"symbols": {"G": {"contract_size": 9}}},
         {"G"}, ["symbols"]),
        ("mt4", {"symbols": {"GER40": {"contract_size": 1}}},
         {"symbols": {"ger40": {"contract_size": 1}}}, {"GER40"}, ["symbols"]),
        ("mt4", {"symbols": {"GER40": {"contract_size": 1}, "ger40": {"contract_size": 9}}},
         {"symbols": {"GER40": {"contract_size": 5}, "ger40": {"contract_size": 9}}},
         {"GER40"}, ["symbols"]),
        # A table names exceptions.
        ("mt5", {"symbols": {"G": "DAX/EUR"}}, {}, {"EURUSD"}, []),
        ("mt5", {"symbols": {"G": "DAX/EUR"}}, {}, {"G"}, ["symbols"]),
        ("mt5", {}, {"symbols": {"G": "DAX/EUR"}}, {"G"}, ["symbols"]),
    ],
)  # fmt: skip
def test_setting_that_locates_the_account_is_fixed_while_in_use(
    kind: str, before: Any, after: Any, open_symbols: set[str], refused: list[str]
) -> None:
    form: Form = form_of(kind)
    errors = form.in_use_errors(before, after, open_symbols)
    assert [one.field for one in errors] == [f"settings.{key}" for key in refused]
    assert {one.code for one in errors} <= {Code.SETTING_IN_USE}


@pytest.mark.parametrize("kind", ["mt5", "mt4", "mt5-dwx", "ibkr", "crypto"])
def test_units_are_fixed_while_in_use(kind: str) -> None:
    """A new setting that distinguishes accounts must be declared fixed while in use."""
    form = form_of(kind)
    if form.numbered_by:
        errors = form.in_use_errors({form.numbered_by: "a"}, {form.numbered_by: "b"}, {"EURUSD"})
        assert [one.field for one in errors] == [f"settings.{form.numbered_by}"]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("where", SettingType.HOST),
        ("drawer", SettingType.FOLDER),
        ("house", SettingType.TEXT),  # within which numbers count
        ("server", SettingType.TEXT),
        ("port", SettingType.WHOLE),
        ("sandbox", SettingType.SWITCH),
    ],
)
def test_unknown_setting_is_fixed_unless_its_form_allows_changes(
    key: str, kind: SettingType
) -> None:
    """A third party's form that says nothing of it must not let it change: real positions would
    look closed."""
    field = Setting(key, key, value_type=kind)
    form = Form(settings=(field, Setting("patience", "Patience")), numbered_by="house")
    before, after = {key: "a", "patience": 1}, {key: "b", "patience": 2}
    assert [one.field for one in form.in_use_errors(before, after, {"EURUSD"})] == [
        f"settings.{key}"
    ]
    assert form.in_use_errors(before, after, set()) == []
    free = Form(
        settings=(Setting(key, key, value_type=kind, while_open=OpenChangeRule.FREE),),
        numbered_by="house",
    )
    assert free.in_use_errors(before, after, {"EURUSD"}) == []


def test_open_symbols_stay_listed_unless_the_form_allows_removal() -> None:
    form = Form(settings=(Setting("traded", "Traded", value_type=SettingType.SYMBOLS),))
    before, after = {"traded": ["A", "B"]}, {"traded": ["A"]}
    assert [one.field for one in form.in_use_errors(before, after, {"B"})] == ["settings.traded"]
    assert form.in_use_errors(before, after, {"A"}) == []


@pytest.mark.parametrize("kind", BUILT_IN)
def test_our_forms_declare_what_each_setting_means(kind: str) -> None:
    form = form_of(kind)
    for field in form.settings:
        if field.value_type in PLACES or field.key == form.numbered_by:
            assert field.while_open is not None, field.key


def test_account_location_includes_default_values() -> None:
    form = form_of("crypto")
    spot = form.account_location({"market": "spot", "symbols": ["BTC/USDT"]})
    assert spot == form.account_location({"symbols": ["ETH/USDT"], "update_interval_seconds": 5})
    assert spot != form.account_location({"market": "swap"})
    assert spot != form.account_location({"sandbox": True})
    assert spot == form.account_location({"currency": "USDC"})  # the same balances


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("mt5", ["server"]), ("mt4", ["folder"]), ("mt5-dwx", ["folder"]), ("crypto", ["sandbox"]),
        ("ibkr", []), ("paper", []),
    ],
)  # fmt: skip
def test_setting_that_decides_where_credentials_are_sent(kind: str, keys: list[str]) -> None:
    form = form_of(kind)
    assert [one.key for one in form.destinations] == keys
    for key in keys:
        moved = form.redirected_by({key: "here"}, {key: "elsewhere"})
        assert [one.key for one in moved] == [key]
        assert form.redirected_by({key: "here"}, {key: "here", "reply_timeout": 3}) == ()


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("where", SettingType.HOST), ("drawer", SettingType.FOLDER), ("server", SettingType.TEXT),
        ("port", SettingType.WHOLE), ("base_url", SettingType.TEXT),
    ],
)  # fmt: skip
def test_unknown_setting_keeps_credentials_where_they_were_entered_for(
    key: str, kind: SettingType
) -> None:
    """A third party's form that says nothing of it must not let them be sent elsewhere."""
    field = Setting(key, key, value_type=kind, default="usual")
    secrets = (Secret("password", "Password"),)
    assert Form(settings=(field,), secrets=secrets).redirected_by({}, {key: "other"}) == (field,)
    assert Form(settings=(field,), secrets=secrets).redirected_by({}, {key: "usual"}) == ()
    assert Form(settings=(field,)).redirected_by({}, {key: "other"}) == ()
    same = Setting(key, key, value_type=kind, is_destination=False)
    assert Form(settings=(same,), secrets=secrets).redirected_by({}, {key: "other"}) == ()
    own = Setting("region", "Region", is_destination=True)
    assert Form(settings=(own,), secrets=secrets).redirected_by({}, {"region": "eu"}) == (own,)

"""Connection forms: values are converted by type, each wrong field has one error with a hint."""

from typing import Any

import pytest

from brokers.connection_form import Form, Setting, SettingType
from brokers.paper.adapter import create
from brokers.registry import form_of
from common.errors import InvalidInputError
from common.reason_codes import Code
from tests.fakes.paper_server.adapter import RemotePaper

K = SettingType
FORM = Form(
    settings=(
        Setting("host", "Host", "Where the gateway runs.", K.HOST, required=True),
        Setting("port", "Port", "", K.WHOLE, default=4002, minimum=1, maximum=65535),
        Setting("ratio", "Ratio", "", K.NUMBER, minimum=0),
        Setting("sandbox", "Sandbox", "", K.SWITCH, default=False),
        Setting("market", "Market", "", K.CHOICE, choices=(("spot", "Spot"), ("swap", "Swap"))),
        Setting("folder", "Folder", "", K.FOLDER),
        Setting("names", "Names", "", K.NAMES),
        Setting("rates", "Rates", "", K.TABLE),
        Setting("symbols", "Symbols", "", K.SYMBOLS),
        Setting("zone", "Zone", check=lambda zone: "" if zone == "UTC" else "Only UTC is known."),
    )
)


@pytest.mark.parametrize(
    ("key", "value", "stored"),
    [
        ("host", " gw.example.com ", "gw.example.com"),
        ("host", "2001:db8::7", "2001:db8::7"),
        ("port", "4001", 4001),
        ("port", 4001.0, 4001),
        ("ratio", "1.5", 1.5),
        ("ratio", 0, 0),
        ("sandbox", "on", True),
        ("sandbox", False, False),
        ("market", "swap", "swap"),
        ("folder", "terminal-7", "terminal-7"),
        ("names", "EURUSD, XAUUSD;GBPUSD\nEURUSD", ["EURUSD", "XAUUSD", "GBPUSD"]),
        ("names", ["BTC/USDT"], ["BTC/USDT"]),
        ("rates", {"EURUSD": 0.05}, {"EURUSD": 0.05}),
        ("symbols", "EURUSD.m", ["EURUSD.m"]),
        ("symbols", {"ES": {"secType": "FUT"}}, {"ES": {"secType": "FUT"}}),
        ("zone", "UTC", "UTC"),
        ("zone", "", None),
        ("names", [], None),
    ],
)
def test_value_is_converted_by_setting_type(key: str, value: Any, stored: Any) -> None:
    values = FORM.validate({"host": "x.example.com", key: value})
    assert values.get(key) == stored
    assert type(values.get(key)) is type(stored)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", "http://gw.example.com/"),
        ("host", "user@gw.example.com"),
        ("host", "a b"),
        ("host", "gw.example.com:4002"),
        ("port", "70000"),
        ("port", "4001.5"),
        ("port", True),
        ("port", "1e3"),
        ("port", "４００１"),
        ("ratio", "nan"),
        ("ratio", float("inf")),
        ("ratio", -1),
        ("ratio", "1,5"),
        ("sandbox", 1),
        ("sandbox", "perhaps"),
        ("market", "futures"),
        ("market", ["spot"]),
        ("folder", "../other"),
        ("folder", "/etc"),
        ("folder", "C:\\Terminal"),
        ("folder", "a..b"),
        ("folder", 7),
        ("names", {"EURUSD": 1}),
        ("names", [7]),
        ("names", ["x" * 61]),
        ("rates", "EURUSD"),
        ("rates", {"": 1}),
        ("rates", {"EURUSD": [1]}),
        ("rates", {"EURUSD": {1: 2}}),
        ("symbols", 7),
        ("zone", "Mars"),
        ("zone", "two\nlines"),
        ("zone", {"a": 1}),
        ("update_interval_seconds", 0.1),
    ],
)
def test_invalid_value_is_refused_with_its_field(key: str, value: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        FORM.validate({"host": "x.example.com", key: value})
    assert (refused.value.code, refused.value.field) == (Code.FIELD_INVALID, f"settings.{key}")
    assert refused.value.detail.endswith(".")


def test_each_wrong_field_has_its_own_error() -> None:
    values, errors = FORM.read({"port": "x", "sandbox": "x", "market": "spot", "prot": 4001})
    assert values == {"market": "spot"}
    assert [(error.field, error.code) for error in errors] == [
        ("settings.host", Code.FIELD_REQUIRED),
        ("settings.port", Code.FIELD_INVALID),
        ("settings.sandbox", Code.FIELD_INVALID),
        ("settings.prot", Code.FIELD_UNKNOWN),
    ]
    assert errors[0].detail == "Host is missing. Where the gateway runs."
    assert "Did you mean 'port'?" in errors[3].detail


def test_empty_values_are_not_stored() -> None:
    assert FORM.validate({"host": "x.example.com", "port": None, "names": ""}) == {
        "host": "x.example.com"
    }


def test_form_accepts_its_own_defaults() -> None:
    for setting in form_of("paper").fields:
        assert setting.label
        if setting.default is not None:
            assert setting.read(setting.default) == setting.default, setting


def test_registry_and_adapters_share_one_form() -> None:
    assert create().form is form_of("paper") is RemotePaper("127.0.0.1", 1).form

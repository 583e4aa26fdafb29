"""NUL, half characters and other controls: refused at their field, through every way in."""

from typing import Any

import pytest

from brokers.connection_form import Form, Setting, SettingType
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections import services
from connections.models import ExecutionConnection
from tests.connections import make

K = SettingType
FORM = Form(
    settings=(
        Setting("text", "Text"), Setting("names", "Names", value_type=K.NAMES),
        Setting("symbols", "Symbols", value_type=K.SYMBOLS),
        Setting("rates", "Rates", value_type=K.TABLE),
    )
)  # fmt: skip
BAD = ["BTC\0USDT", "BTC\ud800", "BTC\x1b[31m", "BTC\u2028USDT", "BTC\x85USDT"]
PAPER: dict[str, Any] = {"name": "n", "type": "paper", "account": "7"}


@pytest.mark.parametrize("bad", BAD, ids=ascii)
@pytest.mark.parametrize(
    ("key", "wrap"),
    [
        ("text", lambda bad: bad),
        ("names", lambda bad: [bad]),
        ("names", lambda bad: bad),
        ("symbols", lambda bad: ["EURUSD", bad]),
        ("symbols", lambda bad: {bad: "EURUSD"}),
        ("symbols", lambda bad: {"EURUSD": bad}),
        ("rates", lambda bad: {"EURUSD": {bad: 1}}),
        ("rates", lambda bad: {"EURUSD": {"exchange": [{"x": bad}]}}),
    ],
)
def test_setting_holds_no_invisible_characters(key: str, wrap: Any, bad: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        FORM.validate({key: wrap(bad)})
    assert (refused.value.code, refused.value.field) == (Code.FIELD_INVALID, f"settings.{key}")
    assert refused.value.others == ()
    assert refused.value.detail.isprintable()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_setting_values_are_storable_numbers(number: float) -> None:
    for values in (number, {"rate": number}, {"rates": [number]}):
        with pytest.raises(InvalidInputError) as refused:
            FORM.validate({"rates": {"EURUSD": values}})
        assert refused.value.field == "settings.rates"


def test_symbol_length_fits_its_column() -> None:
    validated = FORM.validate({"symbols": ["x" * 40], "names": ["x" * 60]})
    assert validated == {"symbols": ["x" * 40], "names": ["x" * 60]}
    for values in (["x" * 41], {"x" * 41: "EURUSD"}):
        with pytest.raises(InvalidInputError, match="at most 40 characters"):
            FORM.validate({"symbols": values})


def test_ordinary_text_is_stored_unchanged() -> None:
    values = {
        "symbols": {"BTC/USDT:USDT": {"conId": 7, "names": ["Zoé", "金"], "on": True, "x": None}},
        "names": ["DAX 40.cash", "#AAPL"],
        "rates": {"EURUSD": 0.05, "XAU": "1/20"},
    }
    assert FORM.validate(values) == values


@pytest.mark.django_db
@pytest.mark.parametrize("bad", BAD, ids=ascii)
@pytest.mark.parametrize("field", ["name", "account", "exchange_name", "credentials.password"])
def test_connection_text_holds_no_invisible_characters(field: str, bad: str) -> None:
    alice = make.user()
    values: dict[str, Any] = {**PAPER, field: bad}
    if field == "credentials.password":
        values = {**PAPER, "credentials": {"password": bad}}
    with pytest.raises(InvalidInputError) as refused:
        services.create_connection(by=alice, user=alice, **values)
    assert (refused.value.code, refused.value.field) == (Code.FIELD_INVALID, field)
    assert not ExecutionConnection.objects.exists()


@pytest.mark.django_db
def test_changed_text_holds_no_invisible_characters() -> None:
    alice = make.user()
    row = services.create_connection(by=alice, user=alice, **PAPER)
    with pytest.raises(InvalidInputError) as refused:
        services.update_connection(row.pk, by=alice, name="a\0b")
    assert refused.value.field == "name"
    with pytest.raises(InvalidInputError) as refused:
        services.set_credentials(row.pk, by=alice, values={"password": "a\0b"})
    assert refused.value.field == "credentials.password"
    services.update_connection(row.pk, by=alice, name="Büro 👨‍👩‍👧 eins")
    services.set_credentials(row.pk, by=alice, values={"password": "-----BEGIN\nKEY-----\n"})

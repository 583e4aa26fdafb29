"""The connection form, which works without ib_async."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest
from ib_async.contract import Contract

from brokers.ibkr.contracts import FIELDS
from brokers.ibkr.form import FORM
from brokers.maintenance_windows import BUILT_IN, REGION
from common.errors import InvalidInputError


def test_settings_are_stored_by_type() -> None:
    entered = {
        "host": " gw.example.com ", "port": "4001", "client_id": "", "symbols": "EURUSD, ES-202612",
        "timezone": "US/Eastern", "margin_rates": {"AAPL": "0.25"}, "outside_rth": "on",
        "cash_account": "on", "reply_timeout": "5",
    }  # fmt: skip
    assert FORM.validate(entered) == {
        "host": "gw.example.com", "port": 4001, "symbols": ["EURUSD", "ES-202612"],
        "timezone": "US/Eastern", "margin_rates": {"AAPL": "0.25"}, "outside_rth": True,
        "cash_account": True, "reply_timeout": 5,
    }  # fmt: skip
    assert FORM.validate({"host": "gw", "symbols": {"DAX": {"secType": "CFD"}, "EURUSD": "CFD"}})
    assert FORM.secrets == ()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("host", "", "missing"),
        ("host", "gw/path", "only the host"),
        ("port", 70_000, "number"),
        ("client_id", 0, "number"),
        ("timezone", "Mars/Olympus", "no time zone"),
        ("region", "moon", "america"),
        ("symbols", {"X": "OPT"}, "secType"),
        ("symbols", {"X": 3}, "object"),
        ("symbols", {"X": {"sectype": "STK"}}, "no field sectype"),
        ("symbols", ["ZZ 202612"], "exchange is missing"),
        ("margin_rates", {"AAPL": 30}, "0.05"),
        ("margin_rates", {"AAPL": "much"}, "0.05"),
        ("reply_timeout", 600, "number"),
    ],
)
def test_wrong_settings_are_named(key: str, value: Any, words: str) -> None:
    with pytest.raises(InvalidInputError) as wrong:
        FORM.validate({"host": "gw.example.com", key: value})
    assert wrong.value.field == f"settings.{key}"
    assert words in str(wrong.value)


def test_each_form_field_appears_once() -> None:
    keys = [one.key for one in FORM.settings]
    assert len(keys) == len(set(keys))


def test_every_region_of_the_form_has_its_windows() -> None:
    choices = next(one.choices for one in FORM.settings if one.key == REGION)
    assert {name for name, _ in choices} == {w.region for w in BUILT_IN if w.region}


def test_contract_fields_are_those_of_ib_async() -> None:
    theirs = {field.name: type(field.default) for field in fields(Contract)}
    assert {name: theirs[name] for name in FIELDS} == FIELDS


def test_form_and_capabilities_need_no_ib_async() -> None:
    program = (
        "import sys; sys.modules['ib_async'] = None\n"
        "from brokers.types import ConnectionSpec\n"
        "from brokers.registry import adapter_for, capabilities_of, form_of\n"
        "assert form_of('ibkr').settings[0].key == 'host'\n"
        "assert capabilities_of('ibkr', ConnectionSpec('c', 'DU1')).session\n"
        "try: adapter_for('ibkr')\n"
        "except ImportError: print('as it should be')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("as it should be\n", "")

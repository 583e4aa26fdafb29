"""Settings by their kind's form, through every way in; pages show fields, not JSON."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brokers.connection_form import Form, Setting, SettingType
from brokers.registry import BUILT_IN, form_of
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections.account_settings import hosts
from connections.account_settings.forms import AccountSettings, BrokerTypeForm
from connections.account_settings.validation import hosts_in_settings, read_settings
from connections.credentials.forms import CredentialsForm
from tests.operational import set_setting

ROOT = Path(__file__).resolve().parents[2]
OURS = {kind for kind, path in BUILT_IN.items() if path.startswith("brokers.")}  # no fakes
K = SettingType
FORM = Form(
    settings=(
        Setting("gateway_host", "Gateway", value_type=K.HOST, default="127.0.0.1"),
        Setting("port", "Port", value_type=K.WHOLE, default=4002, minimum=1, maximum=65535),
        Setting("stops", "Stops", value_type=K.SWITCH, default=True),
        Setting("hedged", "Hedged", value_type=K.SWITCH),
        Setting(
            "market", "Market", value_type=K.CHOICE, choices=(("spot", "Spot"), ("swap", "Swap"))
        ),
        Setting("symbols", "Symbols", value_type=K.SYMBOLS),
        Setting("rates", "Rates", value_type=K.TABLE),
    )
)
TYPED = {
    "settings.gateway_host": "gw.example.com",
    "settings.port": "",
    "settings.stops": "on",
    "settings.hedged": "false",
    "settings.market": "swap",
    "settings.symbols": "EURUSD\nES 202612",
    "settings.rates": 'EURUSD = 0.05\nXAU = { "a": 1 }\nDAX = DAX/EUR',
}
KEPT = {
    "gateway_host": "gw.example.com",
    "hedged": False,
    "market": "swap",
    "symbols": ["EURUSD", "ES 202612"],
    "rates": {"EURUSD": 0.05, "XAU": {"a": 1}, "DAX": "DAX/EUR"},
}


def page(typed: dict[str, Any] | None, kept: dict[str, Any]) -> AccountSettings:
    form = AccountSettings(typed)
    form.add_settings(FORM, kept)
    return form


def test_typed_values_are_stored_as_form_defines() -> None:
    form = page(TYPED, {})
    assert form.is_valid(), form.errors
    assert form.entered_settings() == KEPT


def test_stored_values_survive_form_round_trip() -> None:
    shown = page(None, KEPT)
    html = shown.as_p()
    assert 'placeholder="4002"' in html
    again = {name: shown[name].value() for name in shown.setting_names if name != "settings.stops"}
    again["settings.stops"] = "on"
    sent = page({name: "" if value is None else value for name, value in again.items()}, KEPT)
    assert sent.is_valid(), sent.errors
    assert sent.entered_settings() == KEPT


@pytest.mark.parametrize(("kept", "is_on"), [({}, True), ({"stops": False}, False)])
def test_switch_shows_stored_value(kept: dict[str, Any], is_on: bool) -> None:
    form = page(None, {**kept, "hedged": False})
    assert ("checked" in str(form["settings.stops"])) is is_on
    assert '<option value="false" selected>' in str(form["settings.hedged"])
    again = page({**TYPED, "settings.stops": ""}, kept)
    assert "checked" not in str(again["settings.stops"])


def test_only_changed_switch_is_stored() -> None:
    off = page({**TYPED, "settings.stops": ""}, {})
    assert off.is_valid()
    assert off.entered_settings()["stops"] is False
    on = page(TYPED, {"stops": False})
    assert on.is_valid()
    assert on.entered_settings()["stops"] is True


def test_each_invalid_field_has_its_own_message() -> None:
    form = page({**TYPED, "settings.port": "x", "settings.market": "y"}, {})
    assert not form.is_valid()
    assert form.errors.as_data().keys() == {"settings.port", "settings.market"}
    assert form.errors["settings.port"] == ["Port: Write a plain number, such as 5."]


def test_default_host_is_validated_like_typed_host(settings: Any) -> None:
    set_setting("networks.broker_networks", ())
    with pytest.raises(InvalidInputError) as refused:
        hosts.check_named(*hosts_in_settings(FORM, {}))
    assert refused.value.code is Code.HOST_NOT_ALLOWED
    assert refused.value.field == "settings.gateway_host"
    hosts.check_named(*hosts_in_settings(FORM, {"gateway_host": "gw.example.com"}))


def test_all_errors_are_reported_together() -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_settings("paper", {"native_stops": "perhaps", "reply_timeout": 0, "x": 1})
    fields = [error.field for error in (refused.value, *refused.value.others)]
    assert fields == ["settings.native_stops", "settings.reply_timeout", "settings.x"]


def test_every_broker_type_is_offered_with_its_fields() -> None:
    choices = dict(BrokerTypeForm().fields["type"].choices)  # type: ignore[attr-defined]
    assert choices.keys() >= OURS
    for kind in OURS:
        assert choices[kind] != kind, "a kind has a name that people use"
        form = form_of(kind)
        for setting in form.fields:
            assert setting.label, (kind, setting.key)
            if setting.default is not None:
                assert setting.read(setting.default) == setting.default, (kind, setting.key)
        assert set(CredentialsForm(kind).fields) == {secret.key for secret in form.secrets}


WITHOUT_LIBRARIES = """
import sys
for name in ("ib_async", "ibapi", "ccxt", "MetaTrader5"):
    sys.modules[name] = None
from brokers.types import ConnectionSpec
from brokers.registry import BUILT_IN, capabilities_of, form_of
for kind in BUILT_IN:
    assert form_of(kind).fields, kind
    capabilities_of(kind, ConnectionSpec(connection_id="", account="", exchange_name="binance"))
print(*sorted(BUILT_IN))
"""


def test_forms_and_capabilities_need_no_broker_library() -> None:
    completed = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{WITHOUT_LIBRARIES}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.split() == sorted(OURS)


def test_bounds_and_examples_are_human_readable_numbers() -> None:
    form = Form(settings=(Setting("id", "Id", value_type=K.WHOLE, minimum=1, maximum=2**31 - 1),))
    with pytest.raises(InvalidInputError, match="from 1 up to 2147483647"):
        form.validate({"id": -1})
    with pytest.raises(InvalidInputError, match="such as 5"):
        form.validate({"id": "one"})


def nested(levels: int) -> str:
    return '{"a": ' * levels + "1" + "}" * levels


@pytest.mark.parametrize("value", [nested(300), nested(2_400), "9" * 400, f"-{'9' * 400}"])
def test_values_that_no_account_has_are_refused_by_name(value: str) -> None:
    """They ended in an error of the server: too deep to parse or to read, or no float."""
    for typed in (f"EURUSD = {value}", f'{{"EURUSD": {value}}}'):
        form = page({**TYPED, "settings.rates": typed}, {})
        assert list(form.errors) == ["settings.rates"]

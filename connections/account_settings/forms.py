"""Django form fields for the settings of a broker type: labels, hints, defaults and choices."""

import json
import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import HttpRequest

from brokers.connection_form import Form, Setting, SettingType
from brokers.registry import broker_types
from common.db.row_changes import ChangedFieldsForm
from common.errors import InvalidInputError
from common.reason_codes import Code
from connections.account_settings.validation import form_if_available

ACCOUNT_FIELDS = ("exchange_name", "account")  # they identify the account
ADVANCED = ("auto_correct", "aggregation_ms")  # of an account, beside settings of its broker
PREFIX = "settings."  # of a field's name, as errors use it
_MULTILINE = (SettingType.NAMES, SettingType.TABLE, SettingType.SYMBOLS)
_NUMBERS = (SettingType.WHOLE, SettingType.NUMBER)
_PLAIN_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class SettingField(forms.Field):
    """The field of one setting; the setting itself parses and validates the value."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        super().__init__(
            required=False,  # the setting checks this, with a better message
            label=setting.label,
            help_text=_hint(setting),
            initial=setting.default if setting.value_type is SettingType.SWITCH else None,
            widget=_widget(setting),
        )

    def clean(self, value: Any) -> Any:
        """Return the value as it is stored; None if the field is empty. Raises ValidationError."""
        try:
            return self.setting.read(_parsed(self.setting, value))
        except InvalidInputError as error:
            is_empty = error.code is Code.FIELD_REQUIRED  # the page shows its hint beside it
            sentence = self.error_messages["required"] if is_empty else error.detail
            raise forms.ValidationError(sentence) from error

    def prepare_value(self, value: Any) -> Any:
        """Return the stored value as the widget shows it."""
        if isinstance(self.widget, forms.Select) and isinstance(value, bool):
            return str(value).lower()
        return _as_text(value)


class BrokerTypeForm(forms.Form):
    """The choice of the broker type of a new account; it decides the other fields."""

    type = forms.ChoiceField(label="Broker", choices=lambda: _broker_type_choices())


def selected_broker_type(request: HttpRequest) -> str | None:
    """Return the broker type selected on a page for a new account; None if none is selected."""
    choice = request.POST.get("type") or request.GET.get("type")
    return choice if choice and choice in broker_types() and form_if_available(choice) else None


def has_only_broker_type(request: HttpRequest) -> bool:
    """Return whether the request only selects the broker type: its fields are shown next."""
    return request.method == "POST" and "name" not in request.POST


def _broker_type_choices() -> list[tuple[str, str]]:
    """Return the broker types whose form can be shown, with labels, sorted by label."""
    labels = {
        broker_type: broker_type_label(broker_type)
        for broker_type in broker_types()
        if form_if_available(broker_type)
    }
    return sorted(labels.items(), key=lambda choice: choice[1].lower())


def broker_type_label(broker_type: str) -> str:
    form = form_if_available(broker_type)
    return form.label if form and form.label else broker_type


def takes_credentials(broker_type: str) -> bool:
    """Return whether accounts of a broker type have credentials to enter."""
    form = form_if_available(broker_type)
    return form is None or bool(form.secrets)


class AccountSettings(ChangedFieldsForm, forms.Form):
    """A form that also has the settings of one broker type."""

    def add_account(self, form: Form) -> None:
        """Add the help text of the account number, and the exchange if there are several."""
        self.fields["account"].help_text = form.account
        if form.exchange is not None:
            self.fields["exchange_name"] = SettingField(form.exchange)

    stored_settings: Mapping[str, Any] = {}
    is_change = False

    def add_settings(self, form: Form | None, stored_settings: Mapping[str, Any]) -> None:
        """Add the broker type's fields. Without a form the stored settings stay unchanged."""
        self.stored_settings = stored_settings
        for setting in form.fields if form else ():
            self.fields[PREFIX + setting.key] = SettingField(setting)
            if setting.key in stored_settings:
                self.initial[PREFIX + setting.key] = stored_settings[setting.key]

    @property
    def advanced_names(self) -> frozenset[str]:
        """The names of the fields that most people leave as they are: shown under "Advanced"."""
        settings = (
            name
            for name in self.setting_names
            if isinstance(field := self.fields[name], SettingField) and field.setting.is_advanced
        )
        return frozenset(settings) | {name for name in ADVANCED if name in self.fields}

    @property
    def setting_names(self) -> list[str]:
        """The names of the added fields, in the form's order."""
        return [name for name in self.fields if name.startswith(PREFIX)]

    def changed_values(self) -> dict[str, Any]:
        """Return the changed fields of an account; the settings are one value."""
        names = set(self.setting_names)
        changed = {name: value for name, value in self.changes().items() if name not in names}
        settings = self.entered_settings()
        return changed if settings == self.stored_settings else {**changed, "settings": settings}

    def entered_settings(self) -> dict[str, Any]:
        """Return the entered settings by key, without empty fields and unchanged defaults."""
        if not self.setting_names:
            return dict(self.stored_settings)
        known = {name.removeprefix(PREFIX) for name in self.setting_names}
        entered = {key: value for key, value in self.stored_settings.items() if key in known}
        for name in self.setting_names:
            field, value = self.fields[name], self.cleaned_data[name]
            assert isinstance(field, SettingField)
            if self.is_change and name not in self.changed_data:
                continue
            entered.pop(field.setting.key, None)
            if value is not None and (name in self.initial or value != field.setting.default):
                entered[field.setting.key] = value
        return entered


def display_settings(broker_type: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return labels and values of an account's settings, for people."""
    form = form_if_available(broker_type)
    return [
        (setting.label.replace(" … ", ", "), _display_value(setting, settings[setting.key]))
        for setting in (form.fields if form else ())
        if setting.key in settings
    ]


def _display_value(setting: Setting, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    if setting.value_type is SettingType.CHOICE:
        return str(dict(setting.choices).get(value, value))
    return str(_as_text(value))


def _hint(setting: Setting) -> str:
    if setting.value_type in (SettingType.TABLE, SettingType.SYMBOLS):
        return f"{setting.hint} One per line: NAME, or NAME = VALUE.".strip()
    return setting.hint


def _widget(setting: Setting) -> forms.Widget:
    if setting.value_type is SettingType.SWITCH and setting.default is not None:
        return forms.CheckboxInput()
    if setting.value_type is SettingType.SWITCH:
        return forms.Select(choices=[("", "Not set"), ("true", "Yes"), ("false", "No")])
    if setting.value_type is SettingType.CHOICE:
        labels = dict(setting.choices)
        default_label = labels.get(setting.default, "")
        no_default = "Choose" if setting.required else "Not set"
        empty = f"Default: {default_label}" if default_label else no_default
        return forms.Select(choices=[("", empty), *setting.choices])
    attrs: dict[str, Any] = {"spellcheck": "false", "autocomplete": "off"}
    if setting.default is not None:
        default = setting.default
        attrs["placeholder"] = f"{default:g}" if isinstance(default, float) else _as_text(default)
    if setting.value_type in _MULTILINE:
        return forms.Textarea(attrs={**attrs, "rows": 4})
    if setting.value_type in _NUMBERS:
        attrs["inputmode"] = "decimal"
    return forms.TextInput(attrs=attrs)


def _as_text(value: Any) -> Any:
    """Return a list or an object as lines of text, any other value unchanged."""
    if isinstance(value, list):
        return "\n".join(value)
    if isinstance(value, dict):
        return "\n".join(f"{name} = {_table_value(entry)}" for name, entry in value.items())
    return value


def _table_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parsed(setting: Setting, value: Any) -> Any:
    """Parse the lines of a table; JSON is accepted, too. Other values are returned unchanged."""
    if setting.value_type not in (SettingType.TABLE, SettingType.SYMBOLS) or not isinstance(
        value, str
    ):
        return value
    text = value.strip()
    if text.startswith(("{", "[")):
        return _json(text)
    lines = [line.strip() for line in re.split(r"[\n;]", text) if line.strip()]
    if setting.value_type is SettingType.SYMBOLS and not any("=" in line for line in lines):
        return text
    parts = [line.partition("=") for line in lines]
    return {name.strip(): _value(entry.strip()) for name, _, entry in parts}


def _value(text: str) -> Any:
    is_json = text.startswith("{") or _PLAIN_NUMBER.fullmatch(text)
    return _json(text) if is_json else text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # what is nested too deeply is refused as a text
        return text

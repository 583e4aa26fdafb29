"""The forms of a provider's feed. The service checks what the database requires."""

import re
from collections.abc import Callable
from typing import Any

from django import forms

from common.db.row_changes import ChangedFieldsForm
from common.errors import InvalidInputError
from common.form_fields import Amount, WholeNumberInput
from common.names import one_line
from signals.feeds.alert_rules import read_sources, read_symbols
from signals.models import MAX_TERMS, MAX_TEXT, Feed
from signals.models.feeds import (
    DEFAULT_LEVEL_DEVIATION,
    DEFAULT_PRICE_DEVIATION,
    MAX_ALERTS_PER_MINUTE,
)
from signals.symbols import CURRENCY

FIELDS = (
    "name", "description", "is_public", "max_signal_notional", "max_signal_currency",
    "max_price_deviation_percent", "max_level_deviation_percent",
)  # fmt: skip
ALERT_RULES = ("alerts_per_minute", "alert_symbols", "alert_sources", "alerts_signed_only")


class FeedFields(ChangedFieldsForm, forms.Form):
    """What a provider decides about a feed."""

    name = forms.CharField(max_length=200, validators=[one_line])
    description = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What it trades, when, and how. Everybody who may subscribe reads it.",
    )
    is_public = forms.BooleanField(
        required=False,
        initial=True,
        label="Public",
        help_text="Every user may find it and subscribe. A public feed needs the operators’ "
        "approval; a private one is for your own accounts.",
    )
    max_signal_notional = Amount(
        required=False,
        label="Most that one signal may enter",
        help_text="Notional of its entries on all accounts together. Empty: no limit.",
    )
    max_signal_currency = forms.CharField(
        required=False, max_length=10, label="Currency of that limit", help_text="Such as USD."
    )
    max_price_deviation_percent = Amount(
        required=False,
        label="Entry prices: most percent from the market",
        initial=DEFAULT_PRICE_DEVIATION,
        help_text="A signal with another price is refused. Empty: they are not compared.",
    )
    max_level_deviation_percent = Amount(
        required=False,
        label="Stop and targets: most percent from the market",
        initial=DEFAULT_LEVEL_DEVIATION,
        help_text="400 is a fifth to five times the market. Empty: they are not compared.",
    )

    def clean_max_signal_currency(self) -> str:
        code = str(self.cleaned_data["max_signal_currency"]).strip().upper()
        if code and not CURRENCY.fullmatch(code):
            raise forms.ValidationError(f"{code!r} is not the code of a currency such as USD.")
        return code


class NewFeedForm(FeedFields):
    is_change = False
    slug = forms.SlugField(
        required=False,
        max_length=60,
        label="Address",
        help_text="Small letters, digits and hyphens; it is part of the addresses for alerts and "
        "stays. Empty: made from the name.",
    )
    field_order = ("name", "slug", *FIELDS[1:])


class FeedSettingsForm(FeedFields):
    """The settings of a feed with the rules of its alerts; only what was changed is written."""

    alerts_per_minute = WholeNumberInput(
        min_value=1,
        max_value=MAX_ALERTS_PER_MINUTE,
        label="Alerts: most in a minute",
        help_text="Of all its addresses together. More are answered 429; a Telegram bot waits.",
    )
    alert_symbols = forms.CharField(
        required=False,
        label="Alerts: symbols in which they may open trades",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Pairs such as EUR/USD, with commas or one a line. Empty: all. What closes is "
        "always accepted.",
    )
    alert_sources = forms.CharField(
        required=False,
        label="Alerts: network addresses from which they come",
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Such as 203.0.113.0/24, with commas or one a line; tradingview stands for those "
        "that TradingView publishes. Empty: all.",
    )
    alerts_signed_only = forms.BooleanField(
        required=False,
        label="Alerts: only signed ones (HMAC)",
        help_text="New addresses then have a key, and addresses without one are refused. "
        "TradingView cannot sign.",
    )

    def __init__(self, feed: Feed, data: Any = None) -> None:
        initial = {name: getattr(feed, name) for name in (*FIELDS, *ALERT_RULES)}
        lists = {name: "\n".join(initial[name]) for name in ("alert_symbols", "alert_sources")}
        super().__init__(data, initial=initial | lists)

    def clean_alert_symbols(self) -> list[str]:
        return _entries(read_symbols, self.cleaned_data["alert_symbols"])

    def clean_alert_sources(self) -> list[str]:
        return _entries(read_sources, self.cleaned_data["alert_sources"])


def _entries(read: Callable[[list[str]], list[str]], text: str) -> list[str]:
    try:
        return read([entry for entry in re.split(r"[\s,;]+", text) if entry])
    except InvalidInputError as error:
        raise forms.ValidationError(error.detail, code=str(error.code)) from error


class TermsForm(forms.Form):
    """The terms of a feed."""

    text = forms.CharField(
        required=False,
        strip=False,
        max_length=MAX_TERMS,
        label="Terms",
        widget=forms.Textarea(attrs={"rows": 14}),
        help_text="Price, risks, what followers may expect. Followers see when they were changed "
        "last; earlier ones stay readable.",
    )


class RequestForm(forms.Form):
    """A request for approval."""

    text = forms.CharField(
        required=False,
        max_length=MAX_TEXT,
        label="For the operators",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="How you trade, your record elsewhere, how to reach you.",
    )

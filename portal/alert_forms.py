"""Forms of a feed's alerts: a text to test, an address, the mapping."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms

from alerts.grammar.mapping import PATHS
from alerts.reading import read_mapping
from common.errors import InvalidInputError
from common.names import one_line
from signals.feeds.services import end_of_old_token
from signals.models import FeedToken
from signals.reading.strict_json import MAX_BYTES

OVERLAPS = [("0", "at once"), ("24", "in 24 hours"), ("168", "in 7 days")]
_ROWS = {"rows": 6, "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}


class AlertTestForm(forms.Form):
    """A text to read."""

    text = forms.CharField(
        label="Message", max_length=MAX_BYTES, strip=False, widget=forms.Textarea(attrs=_ROWS),
        help_text="Paste it as it is sent, filled in.",
    )  # fmt: skip


class AddressForm(forms.Form):
    """A new address for alerts."""

    name = forms.CharField(
        validators=[one_line],
        max_length=100,
        initial="alerts",
        help_text="For you: TradingView, channel …",
    )
    signed = forms.BooleanField(
        label="Only signed alerts", required=False,
        help_text="Each alert must carry X-Fillcast-Signature. TradingView cannot sign.",
    )  # fmt: skip


class ReplaceForm(forms.Form):
    """When the replaced address ends."""

    overlap = forms.ChoiceField(
        label="The old address ends", choices=OVERLAPS, initial="24",
        help_text="Until then both work, so that no alert is lost while you change them. At once: "
        "for an address that others may know.",
    )  # fmt: skip

    def end_of(self, token: FeedToken) -> datetime | None:
        """Return when the replaced address ends, by this form or its own end; None: at once."""
        return end_of_old_token(token, int(self.cleaned_data["overlap"]))


def _pairs_text(values: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in values.items())


class MappingForm(forms.Form):
    """A feed's mapping, one entry a line."""

    symbols = forms.CharField(
        required=False, widget=forms.Textarea(attrs=_ROWS), label="Symbols",
        help_text="Your word = the pair, one a line: GOLD = XAU/USD",
    )  # fmt: skip
    sides = forms.CharField(
        required=False, widget=forms.Textarea(attrs=_ROWS), label="Words for the side",
        help_text="Your word = BUY, SELL, CLOSE, CLOSE_BUY or CLOSE_SELL: compra = BUY",
    )  # fmt: skip
    paths = forms.CharField(
        required=False, widget=forms.Textarea(attrs=_ROWS), label="Fields of your JSON",
        help_text=f"Our field = the path in your JSON: symbol = order.pair. {', '.join(PATHS)}.",
    )  # fmt: skip
    ignore = forms.CharField(
        required=False, widget=forms.Textarea(attrs=_ROWS), label="Phrases without meaning",
        help_text="One a line, without digits and without words such as not, close or buy.",
    )  # fmt: skip
    entry_price = forms.ChoiceField(
        label="The price of a text",
        choices=[
            ("LIMIT", "A limit order: this price or better"),
            ("MARKET", "At market: the price is only compared with it"),
        ],
    )
    distances = forms.ChoiceField(
        required=False, label="sl=20 of a comma command",
        choices=[
            ("", "By its size, else refused"), ("PIPS", "Pips"), ("PERCENT", "Percent"),
            ("PRICE", "A price"),
        ],
    )  # fmt: skip

    def __init__(self, stored: Mapping[str, Any], data: Any = None) -> None:
        names = ("symbols", "sides", "paths")
        initial = {name: _pairs_text(stored.get(name, {})) for name in names}
        initial["ignore"] = "\n".join(stored.get("ignore", ()))
        initial["entry_price"] = stored.get("entry_price", "LIMIT")
        initial["distances"] = stored.get("distances", "")
        super().__init__(data, initial=initial)

    def clean(self) -> dict[str, Any]:
        """Add the mapping as it is stored; each fault is beside its field."""
        data = dict(super().clean() or {})
        mapping: dict[str, Any] = {
            name: self._pairs(name, data.get(name, "")) for name in ("symbols", "sides", "paths")
        }
        mapping["ignore"] = [line.strip() for line in data.get("ignore", "").splitlines() if line]
        mapping |= {name: data[name] for name in ("entry_price", "distances") if data.get(name)}
        mapping = {name: value for name, value in mapping.items() if value}
        try:
            read_mapping(json.loads(json.dumps(mapping)))
        except InvalidInputError as error:
            for fault in (error, *error.others):
                self.add_error(fault.field if fault.field in self.fields else None, fault.detail)
        data["mapping"] = mapping
        return data

    def _pairs(self, name: str, text: str) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            word, equals, meaning = (part.strip() for part in line.partition("="))
            if not (word and equals and meaning) or word in pairs:
                self.add_error(name, f"{line[:60]!r} is not one word = meaning, each word once.")
                continue
            pairs[word] = meaning
        return pairs


def name_of(token: FeedToken) -> str:
    """Return a token's name with the beginning of its secret."""
    return f"{token.name} ({token.prefix}…)"

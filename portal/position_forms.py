"""The forms of one position's page. Each shows what it will send before it does."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.db.models import TextChoices

from common.errors import ConflictError
from common.form_fields import Amount
from common.money import plain
from common.reason_codes import Code
from common.stop_rules import OFFSET_UNITS, UNIT_CHOICES
from positions.models import ExecutionPosition
from positions.owner_rules import Trailing
from signals.symbols import slippage_unit

HIDDEN = ("seen", "shown")


class PositionForm(forms.Form):
    """What a person wants of a position, sent twice: to see what it does, and to confirm that.

    seen: what was typed when the page showed what it does. shown: the values of the position that
    the page showed then. What was typed later, or has changed meanwhile, is shown again first.
    """

    names: ClassVar[tuple[str, ...]] = ("sl", "tp", "quantity")  # what `shown` compares
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, position: ExecutionPosition, data: Any = None) -> None:
        self.position = position
        super().__init__(data)

    def typed(self) -> str:
        """Return what a valid form asks for, as one text."""
        asked = {name: value for name, value in self.cleaned_data.items() if name not in HIDDEN}
        texts = (
            f"{name}={plain(value) if isinstance(value, Decimal) else value}"
            for name, value in sorted(asked.items())
            if value not in (None, "", False)
        )
        return ";".join(("asked", *texts))

    def state_of(self, position: ExecutionPosition) -> str:
        """Return the values of the position that the answer is about."""
        return ";".join(f"{name}={plain(getattr(position, name))}" for name in self.names)

    def is_seen(self) -> bool:
        """Whether a valid form is what its page has shown the effect of."""
        return bool(self.cleaned_data["shown"]) and self.cleaned_data["seen"] == self.typed()

    def changed_text(self, position: ExecutionPosition) -> str:
        """Return what differs from what the page showed; empty: nothing."""
        before, after = (
            dict(part.split("=") for part in state.split(";") if part.count("=") == 1)
            for state in (self.cleaned_data["shown"], self.state_of(position))
        )
        words = {"sl": "the stop", "tp": "the target", "quantity": "the open quantity",
                 "reserved": "what is being closed", "trailing": "the trailing rule"}  # fmt: skip
        return ", ".join(
            f"{words[name]} was {before.get(name) or 'none'} and is {value or 'none'}"
            for name, value in after.items()
            if before.get(name, "") != value
        )

    def require_unchanged(self) -> None:
        """Lock the position. Raises ConflictError if it is not as the page showed it."""
        rows = ExecutionPosition.objects.select_for_update(no_key=True, of=("self",))
        now = rows.get(pk=self.position.pk)
        if changed := self.changed_text(now):
            self.position = now
            detail = f"Since you were shown it, {changed}. Look at what it does now, then confirm."
            raise ConflictError(Code.CHANGED_SINCE_SHOWN, detail)

    def address_of_typed(self) -> str:
        """Return the query of an address that asks for what was typed."""
        names = (name for name in self.fields if name not in HIDDEN and name in self.data)
        return "?" + urlencode({name: self.data.get(name, "") for name in names})

    def mark_as_seen(self) -> None:
        """Note what the page shows now; what was typed stays."""
        data = {name: self.data.get(name, "") for name in self.data if name not in HIDDEN}
        shown = {"seen": self.typed(), "shown": self.state_of(self.position)}
        self.data = {**data, **shown}


class LevelsForm(PositionForm):
    """A new stop or target. An empty target is none; a stop is only removed on purpose."""

    stop_loss = Amount(label="Stop loss", required=False)
    take_profit = Amount(
        label="Take profit", required=False,
        help_text="The next target. Empty: it is removed. Later targets stay.",
    )  # fmt: skip
    remove_stop = forms.BooleanField(
        label="Remove the stop: the position then has none", required=False
    )

    def __init__(self, position: ExecutionPosition, data: Any = None) -> None:
        super().__init__(position, data)
        self.initial = {"stop_loss": position.sl, "take_profit": position.tp}
        if position.sl is None:
            del self.fields["remove_stop"]

    def clean(self) -> dict[str, Any]:
        """Refuse an empty stop that was not meant, and a form that changes nothing."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return data
        removes = bool(data.get("remove_stop"))
        if data["stop_loss"] is None and self.position.sl is not None and not removes:
            self.add_error(
                "stop_loss",
                "To leave the position without a stop, tick the box below. Else enter a price.",
            )
        elif removes and data["stop_loss"] not in (None, self.position.sl):
            self.add_error("remove_stop", "Enter a new stop or remove it, not both.")
        if not self.errors and self.levels() == (self.position.sl, self.position.tp):
            self.add_error(None, "These are the present levels, so there is nothing to change.")
        return data

    def levels(self) -> tuple[Decimal | None, Decimal | None]:
        """Return the stop and the target that are asked for."""
        data = self.cleaned_data
        stop = None if data.get("remove_stop") else data["stop_loss"]
        return stop, data["take_profit"]


class BreakEvenForm(PositionForm):
    """Where the stop goes: the entry price, or beyond it."""

    names = ("sl", "quantity")
    offset = Amount(
        label="Beyond the entry price", required=False,
        help_text="On the side of the profit, to pay for commission and spread. Empty: 0.",
    )  # fmt: skip
    unit = forms.ChoiceField(label="Unit", required=False)

    def __init__(self, position: ExecutionPosition, data: Any = None) -> None:
        super().__init__(position, data)
        self.fields["unit"] = _unit_field(position, OFFSET_UNITS)


class TrailingForm(PositionForm):
    """How the stop trails from now on, or that it shall not."""

    class Act(TextChoices):
        """What to do with the trailing of a position that has a rule."""

        SET = "SET", "Trail as entered below"
        END = "END", "End trailing: the stop stays where it is"

    names = ("sl", "quantity", "trailing")
    act = forms.ChoiceField(label="What to do", choices=Act, required=False)
    distance = Amount(
        label="Distance", required=False, help_text="How far it follows behind the best price."
    )
    unit = forms.ChoiceField(label="Unit", required=False)
    step = Amount(label="Step", required=False, help_text="The least move. Empty: one pip.")
    activation = Amount(
        label="From a profit of", required=False,
        help_text="In the same unit. Empty: it trails from now on.",
    )  # fmt: skip

    def __init__(self, position: ExecutionPosition, data: Any = None) -> None:
        super().__init__(position, data)
        rule = position.rule
        self.fields["unit"] = _unit_field(position, UNIT_CHOICES)
        if rule is None or not rule.trailing_distance:
            del self.fields["act"]
        else:
            self.initial = {
                "distance": rule.trailing_distance, "step": rule.trailing_step,
                "activation": rule.trailing_activation, "unit": rule.trailing_unit,
            }  # fmt: skip

    @property
    def ends(self) -> bool:
        return bool(self.cleaned_data.get("act") == self.Act.END)

    def state_of(self, position: ExecutionPosition) -> str:
        """Return the values of the position and of its rule."""
        rule = position.rule
        text = rule.trailing_text.replace(";", ",") if rule is not None else ""
        values = ";".join(f"{name}={plain(getattr(position, name))}" for name in self.names[:2])
        return f"{values};trailing={text}"

    def clean(self) -> dict[str, Any]:
        """Require a distance, unless trailing ends."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and not self.ends and data["distance"] is None:
            self.add_error("distance", "Enter how far the stop follows behind the price.")
        return data

    def trailing(self) -> Trailing:
        """Return the rule that a valid form asks for."""
        data = self.cleaned_data
        return Trailing(data["distance"], data["step"], data["activation"], data["unit"])


class ClosePartForm(PositionForm):
    """How much to close: a quantity in base units."""

    names = ("quantity", "reserved")
    amount = Amount(label="Quantity", help_text="Units, at most what is open.")


def _unit_field(position: ExecutionPosition, choices: list[tuple[str, str]]) -> forms.ChoiceField:
    """Return the field of a distance's unit; empty is the symbol's usual one."""
    usual = slippage_unit(position.pair)
    others = [(value, label) for value, label in choices if value != usual.value]
    return forms.ChoiceField(
        label="Unit", required=False, choices=[("", usual.word.capitalize()), *others]
    )


def asked_of(query: Mapping[str, str], form: type[PositionForm]) -> dict[str, str] | None:
    """Return what an address asks a form for (`?offset=2`); None: nothing."""
    found = {name: query[name] for name in form.base_fields if name in query and name not in HIDDEN}
    return found or None

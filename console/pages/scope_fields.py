"""The fields that name a scope: what a halt, a cancellation or a closing concerns."""

from typing import Any

from django import forms

from common.errors import InvalidInputError
from connections.models import ExecutionConnection
from connections.services import TARGET_FIELDS, halt_errors
from signals.models import Feed
from users.lookups import named

SCOPES = [
    ("ALL", "Everything"),
    ("BROKER_TYPE", "One broker type"),
    ("SYMBOL", "One symbol"),
    ("FEED", "One feed"),
    ("USER", "One user's accounts"),
    ("CONNECTION", "One connection"),
]


class ScopeForm(forms.Form):
    """A scope and what of it. `cleaned_data["target"]`: the arguments that name it."""

    scope = forms.ChoiceField(label="What", choices=SCOPES)
    name = forms.CharField(
        label="Which one", required=False, max_length=100,
        help_text="The broker type (mt5), the symbol (EUR/USD), the feed's slug, the user's name "
        "or the connection's ID. Empty for everything.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """Find the target by its name."""
        data = super().clean() or self.cleaned_data
        scope, name = data.get("scope"), data.get("name", "").strip()
        data["target"] = _target(scope, name)
        if scope and scope != "ALL" and not data["target"]:
            words = scope.lower().replace("_", " ")
            self.add_error("name", f"There is no such {words}.")
        if scope == "ALL" and name:
            self.add_error("name", "Leave this empty for everything.")
        for error in self.errors_of(data):
            at = "name" if error.field in TARGET_FIELDS.values() else error.field
            if at in self.fields and at not in self.errors:
                self.add_error(at, error.detail)
        return data

    def errors_of(self, data: dict[str, Any]) -> list[InvalidInputError]:
        """Return the faults of what the form names. A field that could not be read is missing."""
        return halt_errors(scope=data.get("scope"), mode=None, **data["target"])


def _target(scope: str | None, name: str) -> dict[str, Any]:
    """Return the keyword arguments that name a target; empty: there is no such target."""
    found: Any = None
    if scope == "FEED":
        found = Feed.objects.filter(slug=name).first()
    if scope == "USER":
        found = named(name).first()
    if scope == "CONNECTION":
        try:
            found = ExecutionConnection.objects.filter(pk=name).first()
        except (ValueError, forms.ValidationError):
            found = None
    if scope in {"BROKER_TYPE", "SYMBOL"} and name:
        return {"broker_type" if scope == "BROKER_TYPE" else "pair": name}
    return {f"{(scope or '').lower()}_id": found.pk} if found else {}

"""The forms of a subscription's priority class and of its route."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms

from common.db.row_changes import ChangedFieldsForm
from common.web.confirmation import Consequence
from connections.models import (
    ExecutionConnection,
    PriorityClass,
    RoutePolicy,
    Subscription,
    SubscriptionRoute,
)
from connections.subscriptions.routes import RouteAccount, route_errors


class PriorityForm(ChangedFieldsForm, forms.Form):
    """Whose entries are sent first while many wait."""

    priority = forms.TypedChoiceField(coerce=int, choices=PriorityClass)


class RouteForm(forms.Form):
    """Which accounts may execute the signals of a subscription, and how one is chosen."""

    policy = forms.ChoiceField(
        choices=[("", "This account alone"), *RoutePolicy.choices], required=False
    )
    accounts = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Besides this one. The next follows if a broker proves not to have the order.",
    )
    shares = forms.CharField(
        required=False,
        help_text="In proportion to shares only: a whole number for this account and each of the "
        "others, in the order of the list, separated by commas. Empty: 1 each.",
    )

    symbols = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="For an account whose broker has other names, one line: Its name: "
        "EUR/USD = EURUSD.m, XAU/USD = GOLD. Without a line the subscription's map counts there.",
    )

    def __init__(
        self, subscription: Subscription, others: Sequence[ExecutionConnection], data: Any = None
    ) -> None:
        self.subscription = subscription
        routes = list(subscription.routes.all())
        own = [route for route in routes if route.connection_id == subscription.connection_id]
        rest = [route for route in routes if route not in own]
        initial = {
            "policy": subscription.route_policy,
            "accounts": [str(route.connection_id) for route in rest],
            "shares": ", ".join(str(route.share) for route in (*own, *rest)),
            "symbols": _map_lines(rest, {other.pk: other.name for other in others}),
        }
        self._ids = {other.name.casefold(): other.pk for other in others}
        super().__init__(data, initial=initial)
        field = self.fields["accounts"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(str(other.pk), other.name) for other in others]

    def clean_shares(self) -> list[int]:
        """Return the shares, [] for none."""
        texts = [text.strip() for text in self.cleaned_data["shares"].split(",")]
        if texts == [""]:
            return []
        if not all(text.isascii() and text.isdigit() and len(text) <= 4 for text in texts):
            raise forms.ValidationError("Whole numbers, separated by commas.")
        return [int(text) for text in texts]

    def clean_symbols(self) -> dict[UUID, dict[str, str]]:
        """Return the symbol map of each account that has a line."""
        maps: dict[UUID, dict[str, str]] = {}
        faults = []
        for line in filter(None, map(str.strip, self.cleaned_data["symbols"].splitlines())):
            name, _, rest = line.rpartition(":")
            account = self._ids.get(name.strip().casefold())
            pairs = [part.partition("=")[::2] for part in rest.split(",") if part.strip()]
            if account is None:
                faults.append(f"{name.strip() or line!r} is none of the accounts.")
            elif not pairs or not all(pair.strip() and symbol.strip() for pair, symbol in pairs):
                faults.append(f"{line}: write Account: EUR/USD = EURUSD.m")
            else:
                maps[account] = {pair.strip(): symbol.strip() for pair, symbol in pairs}
        if faults:
            raise forms.ValidationError(faults)
        return maps

    def clean(self) -> dict[str, Any]:
        """Check that there is a share for each account."""
        data = super().clean() or self.cleaned_data
        shares, others = data.get("shares"), data.get("accounts") or []
        is_shared = data.get("policy") == RoutePolicy.SHARE
        if is_shared and shares and len(shares) != len(others) + 1:
            self.add_error("shares", f"Enter {len(others) + 1} numbers, or none.")
        if self.errors and {"policy", "accounts"} <= data.keys():  # else saving it states them
            for error in route_errors(self.subscription, **self.route()):
                self.add_error(None, error.detail)
        return data

    def route(self) -> dict[str, Any]:
        """Return the arguments of `set_route`, as far as they could be read."""
        policy, others = self.cleaned_data["policy"], self.cleaned_data["accounts"]
        if not policy:
            return {"policy": "", "accounts": []}
        ids = [self.subscription.connection_id, *map(UUID, others)]
        shares = self.cleaned_data.get("shares", [])
        maps = self.cleaned_data.get("symbols", {})
        shares = shares if len(shares) == len(ids) else [1] * len(ids)
        return {
            "policy": policy,
            "accounts": [
                RouteAccount(pk, share, maps.get(pk, {}))
                for pk, share in zip(ids, shares, strict=True)
            ],
        }


def _map_lines(routes: Sequence[SubscriptionRoute], names: dict[UUID, str]) -> str:
    """Return the symbol maps of accounts as the form shows them."""
    return "\n".join(
        f"{names[route.connection_id]}: "
        + ", ".join(f"{pair} = {symbol}" for pair, symbol in route.symbol_map.items())
        for route in routes
        if route.symbol_map and route.connection_id in names
    )


def route_points() -> list[Consequence]:
    """Return what a route does, for the page with its form."""
    return [
        Consequence(
            "submitted",
            "One of the accounts executes each signal, from the next one on; its preset decides "
            "the size.",
        ),
        Consequence(
            "unknown",
            "The next account follows only if the broker proves not to have the order. While its "
            "outcome is unknown, no other account trades the signal.",
        ),
    ]

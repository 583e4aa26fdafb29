"""A drift item's page: what we hold beside what the broker told."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from common.shown import hint, number, sentence
from config.console.pages import View, page
from execution.models import DriftItem

WHERE_TO_LOOK = {
    "UNKNOWN_POSITION": "Somebody opened it at the broker, or a fill of ours has not come yet.",
    "POSITION_MISSING": "Closed at the broker; it counts when two clean reads in a row lack it.",
    "QUANTITY_DIFFERS": "A part was closed or added there, or a fill of ours has not come yet.",
    "LEVELS_DIFFER": "Stop or target were moved at the broker.",
    "UNKNOWN_ORDER": "An order with our tag that we have no row of: look at its id first.",
    "FORGOTTEN_ORDER": "Sent after the backup was made; `may be` names orders that waited then.",
    "POISONED_REPORT": "What the broker told cannot be written down; the evidence is its report.",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of the evidence."""

    name: str
    ours: str
    theirs: str

    @property
    def differs(self) -> bool:
        return self.ours != self.theirs


def show(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The page itself."""
    related = ("connection__user", "connection__admin")
    found = DriftItem.objects.select_related(*related).defer("connection__sealed_credentials")
    item = get_object_or_404(found, pk=pk)
    pairs, facts = evidence(item.evidence)
    return page(
        request,
        "drift.html",
        "Drift",
        item=item,
        said=sentence(item.kind),
        hint=hint(item.kind) or WHERE_TO_LOOK.get(item.kind, ""),
        pairs=pairs,
        facts=facts,
    )


def evidence(told: dict[str, Any]) -> tuple[list[Difference], list[tuple[str, str]]]:
    """Sort evidence into what both sides say and what stands alone."""
    ours, theirs = told.get("ours"), told.get("theirs", told.get("broker"))
    facts = [
        (name.replace("_", " "), str(value))
        for name, value in told.items()
        if name not in {"ours", "theirs", "broker"} and value not in (None, "")
    ]
    if isinstance(ours, dict) or isinstance(theirs, dict):
        mine, his = ours or {}, theirs or {}
        names = dict.fromkeys([*mine, *his])
        return [
            Difference(n, str(mine.get(n, "none")), str(his.get(n, "none"))) for n in names
        ], facts
    if ours is None and theirs is None:
        return [], facts
    return [Difference("quantity", _written(ours or 0), _written(theirs or 0))], facts


def _written(value: Any) -> str:
    """A number with its thousands, anything else as it is."""
    if value is None:
        return "none"
    try:
        return number(Decimal(str(value)))
    except InvalidOperation:
        return str(value)


URLS: tuple[tuple[str, str, View], ...] = (("<int:pk>/", "execution_driftitem_page", show),)

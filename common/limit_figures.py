"""The figures of a refusal: what was limited, its value, and the bound that it broke. Pure.

They are stored with the log line and the event of a refusal as a JSON object with `name`, `value`
and one of the bounds, such as `maximum`. Texts and the API are made from that object.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from common.figure_names import Bound, Limit
from common.reason_codes import Code
from common.web.formatting import number

# Rows that were stored before figures had names.
_OLD_VALUE, _OLD_BOUND = "current", "limit"


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one refusal, as texts: numbers in plain digits."""

    name: str
    value: str
    bound: Bound
    bound_value: str
    unit: str = ""
    word: str = ""

    @property
    def text(self) -> str:
        """The figures for people: `Quantity: 1,001 EUR, maximum 1,000 EUR`."""
        parts = [f"{self.name}: {self.shown(self.value)}"] if self.value else []
        if self.bound_value:
            word = self.word or self.bound.value
            parts.append(f"{word} {self.shown(self.bound_value)}")
        return ", ".join(parts)

    def as_json(self) -> dict[str, str]:
        """Return what is stored of them."""
        found = {"name": self.name, "value": self.value, self.bound.value: self.bound_value}
        found |= {"unit": self.unit, "bound_name": self.word}
        return {name: text for name, text in found.items() if text}

    def shown(self, text: str) -> str:
        """Return one of the texts for people, with its unit if it is a number."""
        try:
            shown = number(Decimal(text))
        except InvalidOperation:
            return text
        return f"{shown} {self.unit}".rstrip()


def read_figures(code: str, stored: object) -> Figures | None:
    """Return stored figures, None if there are none. code: of their refusal.

    Rows of earlier versions have `current` and `limit`, and no name.
    """
    if not isinstance(stored, Mapping):
        return None
    known = Code(code).figures if code in Code.__members__ else None
    limit = known or Limit("Value")
    if _OLD_VALUE in stored or _OLD_BOUND in stored:
        value, bound = stored.get(_OLD_VALUE, ""), stored.get(_OLD_BOUND, "")
        unit = "" if limit.unit.startswith("{") else limit.unit
        return Figures(limit.name, str(value), limit.bound, str(bound), unit, limit.word)
    name, value = stored.get("name"), stored.get("value", "")
    bound = next((bound for bound in Bound if bound in stored), None)
    if not name or not (value or bound):
        return None
    return Figures(
        str(name),
        str(value),
        bound or limit.bound,
        str(stored[bound]) if bound else "",
        str(stored.get("unit", "")),
        str(stored.get("bound_name", "")),
    )


def text_with_detail(figures: Figures | None, detail: str) -> str:
    """Return figures and the detail of a refusal as one text, without what would stand twice."""
    if figures is None or not figures.text:
        return detail
    if detail and _contains(figures.text, detail):
        return f"{figures.text}."
    if figures.name in detail and _contains(detail, figures.shown(figures.value)):
        return detail
    return f"{figures.text}. {detail}".rstrip()


def _contains(text: str, part: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None

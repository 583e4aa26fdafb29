"""The signals of a finished preflight as a table. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from analytics.results.exports import Row

COLUMNS = (
    "signal", "published_at", "pair", "side", "order_type", "stop_distance", "stop_unit", "wanted",
    "sent", "rounding_loss_percent", "fate", "reason", "detail", "note", "price", "priced_by",
    "trade", "result", "currency", "result_by",
)  # fmt: skip


def preflight_rows(result: Mapping[str, Any] | None) -> Iterator[Row]:
    """Return the header, then each signal, the newest first.

    result: as the job stored it; None: there is none.
    """
    yield COLUMNS
    for row in result["rows"] if result else ():
        at = datetime.fromisoformat(row["at"]) if row["at"] else None
        yield (
            f"S-{row['signal']}", at, row["pair"], row["side"], row["type"],
            _number(row["stop"]), row["stop_unit"] if row["stop"] else "",
            _number(row["wanted"]), _number(row["sent"]), _number(row["loss"]), row["fate"],
            row["code"], row["detail"], row["note"], _number(row["price"]), row["basis"],
            row["state"], _number(row["result"]),
            result["currency"] if result and row["result"] else "", row["result_basis"],
        )  # fmt: skip


def _number(text: str) -> Decimal | None:
    return Decimal(text) if text else None

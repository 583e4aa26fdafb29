"""A stored preflight as its page shows it: numbers, sentences and what it does not cover."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from analytics.models import Preflight
from analytics.preflight.prices import BASIS_TEXTS
from common.formatting import amount, hint, sentence
from common.money import plain, significant
from portal.result_charts import ResultChart, day_chart

NOT_COVERED = (
    "Commissions, swaps and slippage: entries and exits are at the prices of then, and a spread is"
    " counted only where one is kept.",
    "Moves within a minute: of a stop and a target that the same minute reached, the stop counts"
    " first; the drawdown is of minutes’ ends.",
    "Trailing entries, pairs of orders that cancel each other, entries that wait for another"
    " signal, and break-even or trailing stops.",
    "Parts of targets are closed exactly, not in your broker’s steps; slices are filled at once.",
    "What the account holds today, and other feeds that it takes: the replay begins with its"
    " balance of now and nothing open.",
    "Pauses, halts and outages: the account is taken as connected and trading all the time. Margins"
    " that only your broker calculates are estimated.",
)
MANY = 50  # rows shown at once; the rest unfolds


@dataclass(frozen=True, slots=True)
class ReasonLine:
    """Why some signals would be denied."""

    code: str
    count: int

    @property
    def text(self) -> str:
        """The sentence of the code."""
        return sentence(self.code)

    @property
    def hint(self) -> str:
        """What to do about it."""
        return hint(self.code)


class Row:
    """One replayed signal."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """Read what is stored of it."""
        self.stored = stored
        self.signal, self.pair, self.side = stored["signal"], stored["pair"], stored["side"]
        self.at = datetime.fromisoformat(stored["at"])
        self.code, self.state = stored["code"], stored["state"]
        self.stop, self.detail, self.note = stored["stop"], stored["detail"], stored["note"]
        wanted, self.sent = _decimal(stored["wanted"]), _decimal(stored["sent"])
        self.wanted = wanted and significant(wanted)
        self.loss, self.result = _decimal(stored["loss"]), _decimal(stored["result"])
        self.price = _decimal(stored["price"])
        self.basis_text = BASIS_TEXTS[stored["basis"]]
        self.result_basis_text = BASIS_TEXTS[stored["result_basis"]]
        self.explanation = stored["explanation"]

    @property
    def bar(self) -> str:
        """The width of the rounding loss, for a bar."""
        share = min(max(self.loss or Decimal(0), Decimal(0)), Decimal(100))
        return f"{plain(share)}%"

    @property
    def result_word(self) -> str:
        """What became of the trade."""
        return {
            "closed": "closed", "open": "still open", "waiting": "still waits for its price",
            "not_filled": "never reached its price", "unknown": "result not known",
        }.get(self.state, "")  # fmt: skip


class View:
    """The result of a finished preflight."""

    def __init__(self, job: Preflight) -> None:
        """Read the stored result."""
        found: dict[str, Any] = job.result or {}
        self.job = job
        self.found = found
        self.until = datetime.fromisoformat(found["until"])
        self.since = datetime.fromisoformat(found["since"]) if found["since"] else None
        self.drawdown_from, self.drawdown_at = (
            datetime.fromisoformat(found[name]) if found[name] else None
            for name in ("drawdown_from", "drawdown_at")
        )
        self.currency = found["currency"]
        self.reasons = [ReasonLine(one["code"], one["count"]) for one in found["reasons"]]
        self.rows = [Row(one) for one in found["rows"]]
        self.debts = [
            (one["pair"], Decimal(one["quantity"]), one["entries"]) for one in found["debts"]
        ]
        amounts = ("balance", "equity", "result", "drawdown", "closed", "open")
        self.amounts = {name: Decimal(found[name]) for name in amounts}
        self.bases = [(BASIS_TEXTS[name], count) for name, count in found["bases"].items()]

    @property
    def first_rows(self) -> list[Row]:
        """The newest signals."""
        return self.rows[:MANY]

    @property
    def more_rows(self) -> list[Row]:
        """The older ones."""
        return self.rows[MANY:]

    @property
    def sentence(self) -> str:
        """The whole result in one sentence."""
        found, result = self.found, self.amounts["result"]
        if not found["signals"]:
            return "The feed has published no signal yet, so there is nothing to replay."
        word = "gained" if result >= 0 else "lost"
        share = found["result_percent"].lstrip("-")
        percent = f" ({share} %)" if share else ""
        return (
            f"Of {found['signals']} signals this account would have traded {found['traded']} and"
            f" {word} {amount(abs(result), self.currency)}{percent}; its"
            f" equity would have fallen by {amount(self.amounts['drawdown'], self.currency)}"
            f" ({found['drawdown_percent']} %) at most."
        )

    @property
    def chart(self) -> ResultChart | None:
        """The equity: the last value of each day, or of each point within few days."""
        points = [(datetime.fromisoformat(at), Decimal(value)) for at, value in self.found["curve"]]
        days = [(day, list(of)[-1][1]) for day, of in groupby(points, lambda one: one[0].date())]
        return day_chart(
            days,
            description=f"Equity of the replayed account in {self.currency}, by day: "
            f"{self.sentence}",
        )


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None

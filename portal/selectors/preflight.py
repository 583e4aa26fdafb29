"""A stored preflight as its page shows it: numbers, sentences and what it does not cover."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from analytics.models import Preflight
from analytics.preflight.outcome import Fate
from analytics.preflight.prices import BASIS_TEXTS
from common.money import plain, significant
from common.web.formatting import amount, hint, sentence
from portal.result_charts import ResultChart, day_chart
from signals.records.selectors import WITHHELD

NOT_COVERED = (
    "Trades whose result is not known, as no price after their entry is kept: they are in no figure"
    " but the counts. For later signals the account holds nothing of them, so in truth limits of"
    " exposure, margin and open positions may deny more.",
    "What a trade was worth between its entry and its exit, where the account’s source has no"
    " prices of then: it counts in the drawdown when it ends.",
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
HOURS = int(WITHHELD.total_seconds() // 3600)


@dataclass(frozen=True, slots=True)
class ReasonLine:
    """Why some signals would be denied."""

    code: str
    count: int

    @property
    def text(self) -> str:
        return sentence(self.code)

    @property
    def hint(self) -> str:
        """What to do about it."""
        return hint(self.code)


FATES = {
    Fate.TRADED: ("ok", "Would trade"),
    Fate.NOT_FILLED: ("expired", "Placed, not filled"),
    Fate.FILL_UNKNOWN: ("unknown", "Placed; its fill is not known"),
    Fate.DENIED: ("denied", "Denied"),
    Fate.NOT_REPLAYED: ("skipped", "Not replayed"),
}
"""The shape and the word of each fate."""


class Row:
    """One replayed signal."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """Read what is stored of it."""
        self.stored = stored
        self.signal, self.pair, self.side = stored["signal"], stored["pair"], stored["side"]
        self.at = datetime.fromisoformat(stored["at"])
        self.code, self.state = stored["code"], stored["state"]
        self.css, self.word = FATES[Fate(stored["fate"])]
        self.stop, self.stop_unit = _decimal(stored["stop"]), stored["stop_unit"]
        self.detail, self.note = stored["detail"], stored["note"]
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
        self.amounts = {name: _decimal(found[name] or "") for name in amounts}
        self.bases, self.result_bases = (
            [(BASIS_TEXTS[basis], count) for basis, count in Counter(found[name]).most_common()]
            for name in ("bases", "result_bases")
        )

    @property
    def first_rows(self) -> list[Row]:
        """The newest signals."""
        return self.rows[:MANY]

    @property
    def more_rows(self) -> list[Row]:
        """The older ones."""
        return self.rows[MANY:]

    @property
    def is_known(self) -> bool:
        """Whether there are figures: of a trade or more the result is known, or none was made."""
        return self.amounts["result"] is not None

    @property
    def without_result(self) -> int:
        """How many trades have no known result, and orders that may have been filled."""
        found: dict[str, int] = self.found
        return found["traded"] + found["fill_unknown"] - found["results_known"]

    @property
    def counts(self) -> str:
        """How the signals add up."""
        found = self.found
        parts = [f"{found['traded']}"]
        parts += [f"{found['not_filled']} placed, not filled"] if found["not_filled"] else []
        unknown = found["fill_unknown"]
        parts += [f"{unknown} placed, their fill not known"] if unknown else []
        parts += [f"{found['denied']} denied", f"{found['not_replayed']} not replayed"]
        return f"{' + '.join(parts)} = {found['signals']}"

    @property
    def withheld(self) -> str:
        """What is left out of it, as it is for subscribers; empty: nothing."""
        number = self.found["withheld"]
        if not number:
            return ""
        one = number == 1
        return (
            f"{number} signal{'' if one else 's'} of the last {HOURS} hours"
            f" {'is' if one else 'are'} for subscribers only, and left out."
        )

    @property
    def sentence(self) -> str:
        """The whole result in one or a few sentences."""
        found = self.found
        if not found["signals"] and found["withheld"]:
            return f"{self.withheld} So there is nothing to replay yet."
        if not found["signals"]:
            return "The feed has published no signal yet, so there is nothing to replay."
        parts = (self._traded(), self._not_filled(), self._fill_unknown(), self.withheld)
        return " ".join(part for part in parts if part)

    def _traded(self) -> str:
        found, traded, known = self.found, self.found["traded"], self.found["results_known"]
        head = f"Of {found['signals']} signals this account would have traded {traded or 'none'}"
        if not traded:
            return f"{head}."
        if not known:
            whose = "the trade" if traded == 1 else "none of these trades"
            word = "not known" if traded == 1 else "known"
            return f"{head}. The result of {whose} is {word}: no price after the entry is kept."
        if known == traded:
            return f"{head} and {self._made('its equity')}."
        made = self._made("by these the equity")
        return f"{head}. The result of {known} of these trades is known: together they {made}."

    def _made(self, whose: str) -> str:
        found, result = self.found, self.amounts["result"] or Decimal(0)
        share = found["result_percent"].lstrip("-")
        return (
            f"{'gained' if result >= 0 else 'lost'} {amount(abs(result), self.currency)}"
            f"{f' ({share} %)' if share else ''}; {whose} would have fallen by"
            f" {amount(self.amounts['drawdown'], self.currency)}"
            f" ({found['drawdown_percent']} %) at most"
        )

    def _not_filled(self) -> str:
        waits = self.found["not_filled"]
        if not waits:
            return ""
        return f"{waits} more would have been placed, but not filled: their price never came."

    def _fill_unknown(self) -> str:
        unknown = self.found["fill_unknown"]
        if not unknown:
            return ""
        return f"Of {unknown} more that would have been placed it is not known if they were filled."

    @property
    def chart(self) -> ResultChart | None:
        """The equity: the last value of each day, or of each point within few days."""
        if not self.is_known:
            return None
        points = [(datetime.fromisoformat(at), Decimal(value)) for at, value in self.found["curve"]]
        days = [(day, list(of)[-1][1]) for day, of in groupby(points, lambda one: one[0].date())]
        return day_chart(
            days,
            description=f"Equity of the replayed account in {self.currency}, by day: "
            f"{self.sentence}",
        )


def view_of(job: Preflight | None) -> View | None:
    """Return what a finished preflight shows.

    None: it is not finished, or an earlier version of Fillcast stored it with other figures.
    """
    is_ready = job is not None and job.state == Preflight.State.READY
    return View(job) if is_ready and job and "results_known" in (job.result or {}) else None


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None

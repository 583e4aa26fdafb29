"""What the console and the portal ask before they cancel and close: the form and the impact."""

from dataclasses import dataclass
from uuid import uuid4

from django import forms

from analytics.orders.halt_texts import unsent_kinds, worth_text
from analytics.orders.scoped_results import positions_of_exits
from common.web.confirmation import Consequence
from execution.models import ScopedAction
from execution.monitoring.halt_actions import HaltImpact
from execution.scoped.actions import (
    ActionRequest,
    ActionScope,
    count_entries,
    count_positions,
    scope_impact,
)
from users.models import User

CANCEL, CLOSE, BOTH = "CANCEL", "CLOSE", "BOTH"
ACTIONS = [
    (BOTH, "Cancel entries and close positions"),
    (CANCEL, "Cancel entries that have not filled"),
    (CLOSE, "Close positions"),
]
BUTTONS = {CANCEL: "Cancel them", CLOSE: "Close them", BOTH: "Cancel and close them"}
HIDDEN = ("seen", "request_id", "shown_entries", "shown_positions")


@dataclass(frozen=True, slots=True)
class LiveScope:
    """What is live in a scope now.

    entries, positions: how many an action would cancel and close. The impact also counts those that
    are being cancelled and closed already. cancelling: entries of these whose fills nothing closes
    yet; an action that closes does.
    """

    scope: ActionScope
    impact: HaltImpact
    entries: int
    positions: int
    cancelling: int = 0

    def reached(self, *, closes: bool) -> int:
        """How many entries an action that cancels would concern, if it also closes or not."""
        return self.entries + self.cancelling if closes else self.entries

    def is_empty(self, *, cancels: bool, closes: bool) -> bool:
        """Whether the action would find nothing."""
        reached = cancels and self.reached(closes=closes)
        return not (reached or (closes and self.positions))


def live_scope(scope: ActionScope, *, by: User | None) -> LiveScope:
    """Return what is live in the scope on the accounts that `by` may trade on.

    Raises NotAllowedError.
    """
    impact = scope_impact(scope, by=by)
    entries, reached = count_entries(scope, by=by)
    return LiveScope(scope, impact, entries, count_positions(scope, by=by), reached - entries)


class ScopedActionForm(forms.Form):
    """What to do with a scope. Hidden: what was shown, and the id of the request.

    The id is made when the page is shown, so that a second click repeats the first request.
    """

    to_stop = "pause trading"
    action = forms.ChoiceField(label="What to do", choices=ACTIONS)
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    request_id = forms.UUIDField(required=False, widget=forms.HiddenInput)
    shown_entries = forms.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput
    )
    shown_positions = forms.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput
    )

    def question(self) -> str:
        """Return what is asked, as one text; the page has been seen if `seen` is equal to it."""
        return str(self.cleaned_data["action"])

    @property
    def cancels(self) -> bool:
        """Whether entries are to be cancelled."""
        return bool(self.cleaned_data["action"] != CLOSE)

    @property
    def closes(self) -> bool:
        """Whether positions are to be closed."""
        return bool(self.cleaned_data["action"] != CANCEL)

    def is_confirmed(self) -> bool:
        """Whether a valid form answers the question that its page showed."""
        data = self.cleaned_data
        return bool(data["request_id"]) and data["seen"] == self.question()

    def mark_as_seen(self, live: LiveScope) -> None:
        """Note what the page shows now, and give the request a new id."""
        others = {name: self.data.get(name, "") for name in self.data if name not in HIDDEN}
        self.data = {
            **others,
            "seen": self.question(),
            "request_id": str(uuid4()),
            "shown_entries": str(live.reached(closes=self.closes)),
            "shown_positions": str(live.positions),
        }

    def button(self, live: LiveScope) -> str:
        """Return the text of the button; '' if there is nothing to confirm."""
        if live.is_empty(cancels=self.cancels, closes=self.closes):
            return ""
        return BUTTONS[self.cleaned_data["action"]]

    def points(self, live: LiveScope) -> list[Consequence]:
        """Return what a confirmation will do."""
        return consequences(live, cancels=self.cancels, closes=self.closes, to_stop=self.to_stop)

    def request(self, scope: ActionScope) -> ActionRequest:
        """Return the request of a confirmed form."""
        data = self.cleaned_data
        shown = (data["shown_entries"] or 0, data["shown_positions"] or 0)
        return ActionRequest(scope, self.cancels, self.closes, f"form:{data['request_id']}", shown)


def consequences(
    live: LiveScope, *, cancels: bool, closes: bool, to_stop: str
) -> list[Consequence]:
    """Return what cancelling and closing will do, in counts and money.

    to_stop: what to do so that later signals are not executed either.
    """
    if live.is_empty(cancels=cancels, closes=closes):
        return [Consequence("safe", _nothing(live, cancels=cancels, closes=closes))]
    later = f"Later signals are executed as usual. To stop those too, {to_stop}."
    return [
        *_entry_lines(live, cancels=cancels, closes=closes),
        *_position_lines(live, closes=closes),
        Consequence("attention", later),
    ]


def _nothing(live: LiveScope, *, cancels: bool, closes: bool) -> str:
    impact = live.impact
    ending = []
    if cancels and impact.waiting + impact.working:
        ending.append(f"{impact.waiting + impact.working} entries are being cancelled already")
    if closes and impact.positions:
        ending.append(f"{impact.positions} positions are being closed already")
    what = " and ".join(
        word for word, is_asked in (("no entry", cancels), ("no position", closes)) if is_asked
    )
    already = f" {', '.join(ending)}." if ending else ""
    return f"There is nothing to do: {what} is open there now.{already}"


def _entry_lines(live: LiveScope, *, cancels: bool, closes: bool) -> list[Consequence]:
    impact = live.impact
    if not cancels:
        found = impact.waiting + impact.working
        stay = f"Entries that have not filled: {found}. They stay, and may open positions later."
        return [Consequence("skipped", stay)] if found else []
    already = impact.waiting + impact.working - live.entries
    note = f" {already} of all entries are being cancelled already." if already > 0 else ""
    filled = "is closed at the market" if closes else "stays open"
    return [
        Consequence(
            "cancelled",
            f"Entries not sent yet: {impact.waiting}{unsent_kinds(impact)}. They are cancelled and "
            "never sent.",
        ),
        Consequence(
            "cancelreq",
            f"Entries at brokers: {impact.working}{worth_text(impact.working_amounts)}. Each "
            f"broker is asked to cancel; what fills first {filled}.{note}",
        ),
    ]


def _position_lines(live: LiveScope, *, closes: bool) -> list[Consequence]:
    impact = live.impact
    open_now = f"Open positions: {impact.positions}{worth_text(impact.open_amounts)}."
    if not closes:
        stay = f"{open_now} They stay open, with their stops and targets."
        return [Consequence("safe", stay)] if impact.positions else []
    already = impact.positions - live.positions
    note = f" {already} of them are being closed already." if already > 0 else ""
    return [
        Consequence(
            "submitting", f"{open_now} They are closed at the market, ahead of all entries.{note}"
        ),
        Consequence("safe", "Each stop stays active until the close is filled."),
    ]


def done_message(action: ScopedAction) -> str:
    """Return what a scoped action has requested, in a sentence or two."""
    parts = []
    if action.cancels_entries:
        parts.append(
            f"{_count(len(action.cancelled), 'entry', 'entries')} cancelled or asked to be."
        )
    if action.closes_positions:
        parts.append(
            f"{_count(positions_of_exits(action.exits), 'position', 'positions')} being closed."
        )
    return " ".join(parts)


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"

"""Texts for the preview of a publication: table rows, consequences and the button's label.

`signals.publishing.preview` computes the preview: how many connections would get an order, and why
the others would not. The console shows it on a signal's page, and before the publication is
confirmed.
"""

from dataclasses import dataclass

from common.web.confirmation import Consequence
from common.web.formatting import STATES, number, quantity
from signals.checks.price_guard import notice
from signals.models import Action, Signal
from signals.publishing.preview import Outcome, Preview, Reason, Sizes

REFRESH_SECONDS = 5
# CSS classes of badges.
BADGES = {
    Outcome.SENT: STATES["SUBMITTED"].css,
    Outcome.WAITING: STATES["PENDING"].css,
    Outcome.SKIPPED: STATES["SKIPPED"].css,
    Outcome.NOT_LISTED: STATES["SKIPPED"].css,
    Outcome.DENIED: STATES["DENIED"].css,
}
OUTCOME_LABELS = {
    Outcome.WAITING: "Would wait",
    Outcome.SKIPPED: "Would be skipped",
    Outcome.NOT_LISTED: "Not listed at their broker",
    Outcome.DENIED: "Would be denied",
}
# For one connection and for several.
_OUTCOME_VERBS = {
    Outcome.WAITING: ("waits", "wait"),
    Outcome.SKIPPED: ("skipped", "skipped"),
    Outcome.NOT_LISTED: ("not listed", "not listed"),
    Outcome.DENIED: ("denied", "denied"),
}
_SENT_VERBS = {
    Action.OPEN: ("gets an order, sent", "get one order each, sent"),
    Action.MODIFY: ("gets the new levels", "get the new levels"),
    Action.CLOSE: ("gets its exit, sent", "get their exits, sent"),
}


@dataclass(frozen=True, slots=True)
class SignalPreview:
    """A signal and what would happen if it were published now, as pages show it."""

    signal: Signal
    expected: Preview

    @property
    def reasons(self) -> list[tuple[str, str, Reason]]:
        """Why connections would get no order: badge, label and the reason."""
        return reason_rows(self.expected)

    @property
    def common_denials(self) -> list[str]:
        """The codes for which no connection could take the signal; []: some could."""
        return [] if self.expected.able_candidates else list(self.expected.common_denials)


def reason_rows(preview: Preview) -> list[tuple[str, str, Reason]]:
    """Return for each reason why a connection would get no order: badge, label and the reason."""
    return [
        (BADGES[reason.outcome], OUTCOME_LABELS[reason.outcome], reason)
        for reason in preview.reasons
    ]


def consequences(signal: Signal, preview: Preview) -> list[Consequence]:
    """Return what a publication would do, for the page that asks for confirmation."""
    return [
        Consequence("submitting" if preview.sent else "denied", _sent_sentence(signal, preview)),
        *(
            Consequence(BADGES[reason.outcome], _reason_sentence(reason))
            for reason in preview.reasons
        ),
        *(
            Consequence("attention", text)
            for text in (correlation_sentence(preview), notice(signal))
            if text
        ),
    ]


def correlation_sentence(preview: Preview) -> str:
    """Return the warning about correlated exposure; empty: no account has it."""
    if not preview.correlated:
        return ""
    return (
        f"{_connections(preview.correlated)} would get more exposure to one currency than the "
        "preset's warning."
    )


def button_label(preview: Preview) -> str:
    """Return the label of the publish button; empty: publishing would have no effect."""
    if preview.common_denials and not preview.able_candidates:
        return ""
    if not preview.candidates:
        return "Publish without any connection"
    if preview.sent:
        return f"Publish to {_connections(preview.sent)}"
    if preview.waiting:
        return f"Publish: {_connections(preview.waiting)} would wait"
    return "Publish although nothing would be sent"


def _connections(count: int) -> str:
    """Return `1 connection`, `2 connections`."""
    return f"{number(count)} connection{'' if count == 1 else 's'}"


def _sent_sentence(signal: Signal, preview: Preview) -> str:
    """Return `2 connections get one order each, sent within a second.`, with the orders' sizes."""
    if not preview.sent:
        return "Nothing would be sent now."
    one, several = _SENT_VERBS[Action(signal.action)]
    verb = one if preview.sent == 1 else several
    sentence = f"{_connections(preview.sent)} {verb} within a second."
    if not preview.sizes:
        return sentence
    return f"{sentence} {_sizes_sentence(preview.sizes[0], signal.currency_pair)}"


def _sizes_sentence(sizes: Sizes, pair: str) -> str:
    """Return `Sizes: 1,000 to 5,000, median 2,000.`, in units of the pair."""
    if sizes.smallest == sizes.largest:
        return f"Size: {quantity(sizes.smallest, pair)}."
    return (
        f"Sizes: {quantity(sizes.smallest, pair)} to {quantity(sizes.largest, pair)}, "
        f"median {quantity(sizes.median, pair)}."
    )


def _reason_sentence(reason: Reason) -> str:
    """Return `3 denied: ` and the sentence of the reason's code."""
    one, several = _OUTCOME_VERBS[reason.outcome]
    verb = one if reason.connections == 1 else several
    return f"{number(reason.connections)} {verb}: {reason.sentence}"

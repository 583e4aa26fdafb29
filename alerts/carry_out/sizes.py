"""What an alert says about sizes, which has no effect: each subscriber's preset sizes. Pure."""

from collections.abc import Iterable

from alerts.reading import SIZING, Note


def size_note(notes: Iterable[Note]) -> str:
    """Return the sentence about the sizes that an alert states; '' if it states none."""
    sizes = dict.fromkeys(note.text.rstrip("=") for note in notes if note.reason == SIZING)
    return f"Without effect: {', '.join(sizes)}: {SIZING}." if sizes else ""

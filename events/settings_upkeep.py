"""Follow the central source of operational settings, and alert operators about what is refused.

A job of the maintenance worker. Its network call is in no transaction, and no reader of settings
waits for it: while the source is slow, away or wrong, the version in force stays.
"""

from datetime import datetime
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import transaction

from common.db.sql import rows
from common.errors import ConflictError, InvalidInputError
from common.models import SettingsVersion
from common.operational import current, source, store
from common.operational.reading import InvalidDocumentError, parse
from events.messages import templates
from events.models import EventKind
from events.services import emit

log = structlog.get_logger(__name__)
SECONDS = 10.0  # between two reads of the source
MOST_FAULTS = 20  # in a message
CHANGED = "The central source has changed."
NOTED = (
    "The JSON of FILLCAST_SETTINGS_SOURCE is noted. It changes nothing: it held until the first"
    " version was stored."
)
TEXT_EFFECT = "These messages are sent with their built-in texts."
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('refused settings', 0))"
_KNOWN = """
SELECT 1 AS found FROM events_event
WHERE kind = %s AND payload ->> 'refused' = %s AND created_at > clock_timestamp() - interval '1 day'
LIMIT 1"""
_obstacle = ""  # why the source could not be read last time
_seen: "Seen | None" = None  # what of the source this process has found stored or refused last


class Seen(NamedTuple):
    """A text of the source. version: its number and time; None: it was refused."""

    digest: str
    version: tuple[int, datetime] | None = None
    is_noted: bool = False

    def is_lost(self) -> bool:
        """Return whether its version is gone: a standby that became the primary may lack it."""
        if self.version is None:
            return False
        number, made_at = self.version
        return not SettingsVersion.objects.filter(pk=number, made_at=made_at).exists()


def run() -> None:
    """Alert operators about an invalid version; store what the source has if it is new."""
    found = current.in_force()
    if found.faults:
        what = f"Version {found.seen.number} of the operational settings"
        _alert(what, f"version {found.seen.number}", list(map(str, found.faults)), found.number)
    if broken := list(map(str, templates.faults_of(found.document))):
        what = f"A text of messages of version {found.number}"
        _alert(what, f"texts of {found.number}", broken, found.number, effect=TEXT_EFFECT)
    if settings.FOLLOWED_SETTINGS_SOURCE:
        follow_source(settings.FOLLOWED_SETTINGS_SOURCE)


def follow_source(where: str) -> SettingsVersion | None:
    """Store what the source has as a version, if its text is new and all of it is valid.

    A text that this process has stored is not new: two workers with different sources would replace
    each other's version every few seconds. JSON that is found after the first version changes
    nothing: it was the base of that version, and what a person changed in it stays.
    """
    global _obstacle, _seen
    before, _obstacle = _obstacle, ""
    try:
        text = source.fetch(where)
    except source.SourceError as error:
        _obstacle = str(error)
        if _obstacle != before:
            log.warning("the central source of settings cannot be read", reason=_obstacle)
        if error.is_forged:
            _alert("The central source of settings", "signature", [_obstacle], _number())
        return None
    base, last = store.number_of(store.newest()), store.last_from_source()
    if last is not None and last.source_digest == text.digest:
        _seen = _seen_of(last)
        return None
    seen = _seen if _seen is not None and _seen.digest == text.digest else None
    if seen is not None and not seen.is_lost():
        return None
    is_base = source.is_json(where) and last is None and base > 0
    return _store(text, base, is_noted=is_base if seen is None else seen.is_noted)


def _store(text: source.Text, base: int, *, is_noted: bool) -> SettingsVersion | None:
    """Store a text as a version, or refuse it. is_noted: it changes no setting."""
    global _seen
    try:
        document = parse(text.text)
        stored = store.save(
            {} if is_noted else document,
            by=None,
            why=NOTED if is_noted else CHANGED,
            origin=store.Origin.CENTRAL,
            base=base,
            source_digest=text.digest,
        )
    except ConflictError:  # a version was stored since `base`: the next read decides
        return None
    except InvalidDocumentError as error:
        faults = list(map(str, error.faults))
    except InvalidInputError as error:
        faults = [f"{one.field}: {one.detail}" for one in (error, *error.others)]
    else:
        if stored is not None:
            _seen = _seen_of(stored)
        return stored
    _seen = Seen(text.digest)
    _alert("The document of the central source of settings", text.digest, faults, _number())
    return None


def _seen_of(version: SettingsVersion) -> Seen:
    where = (version.pk, version.made_at)
    return Seen(version.source_digest, where, is_noted=version.why == NOTED)


def last_obstacle() -> str:
    """Return why this process could not read the source last time; "" if it could."""
    return _obstacle


def _number() -> int:
    return current.in_force().number


def _alert(what: str, refused: str, faults: list[str], stays: int, *, effect: str = "") -> None:
    """Notify operators, once a day for each version or text, whichever process finds it."""
    with transaction.atomic():
        rows(_LOCK)
        if rows(_KNOWN, (EventKind.SETTINGS_REFUSED.value, refused)):
            return
        log.error("settings refused", what=what, faults=faults[:MOST_FAULTS])
        payload: dict[str, object] = {
            "what": what,
            "refused": refused,
            "faults": faults[:MOST_FAULTS],
            "stays": stays,
        }
        if effect:
            payload["effect"] = effect
        emit(EventKind.SETTINGS_REFUSED, payload=payload)

"""Store versions of the operational settings: changes, imports, restored versions.

Each is validated as a whole and written under a lock; a change that began with an older version is
refused, so that no change is lost. Rows are only added, and the audit trail has each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction

from common.db.audit_trail import changed_by
from common.db.sql import rows
from common.errors import ConflictError, InvalidInputError, raise_all
from common.models import SettingsVersion
from common.operational import current
from common.operational.document import Document
from common.operational.reading import (
    Fault,
    InvalidDocumentError,
    Json,
    dump,
    further_faults,
    merged,
    read,
)
from common.permissions import Caller, Right, require
from common.reason_codes import Code

Origin = SettingsVersion.Origin
WHY_LONGEST = 500
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('operational settings', 0))"


def newest() -> SettingsVersion | None:
    """Return the newest version; None: none is stored."""
    return SettingsVersion.objects.order_by("-pk").first()


def number_of(version: SettingsVersion | None) -> int:
    """Return the number that a change has to name; 0 without any version."""
    return version.pk if version else 0


def document_of(version: SettingsVersion | None) -> Json:
    """Return a version with every key: what it does not name has its default.

    Of a version that is invalid: the one that stays in force.
    """
    try:
        valid = read(version.document) if version else current.in_force().document
    except (InvalidDocumentError, AttributeError, TypeError):
        valid = current.in_force().document
    return dump(valid)


def last_from_source() -> SettingsVersion | None:
    """Return the last version that a text of the central source became."""
    return SettingsVersion.objects.exclude(source_digest="").order_by("-pk").first()


def last_digest() -> str:
    """Return the digest of that text; "": none became a version."""
    found = last_from_source()
    return found.source_digest if found else ""


def check(changes: Mapping[str, Any]) -> tuple[Json, Document]:
    """Return what the settings would be with these changes, as JSON and read.

    Raises InvalidInputError with all faults.
    """
    was = document_of(newest())
    return _checked(was, changes, stored=was)


def save(
    changes: Mapping[str, Any],
    *,
    by: Caller | None,
    why: str,
    origin: str,
    base: int | None = None,
    source_digest: str = "",
) -> SettingsVersion | None:
    """Store a version in which the keys of `changes` have their values; None: nothing changes.

    base: the version that the caller saw; None: any. by: None is the system. Raises
    InvalidInputError with all faults, ConflictError STATE_CONFLICT if another version was stored
    meanwhile, NotAllowedError.
    """
    require(by, Right.SETTINGS)
    why = _reason(why)
    with transaction.atomic():
        before = _locked(base)
        if source_digest and source_digest == last_digest():
            return None  # another process was quicker
        was = document_of(before)
        document, _after = _checked(was, changes, stored=was)
        is_stored = before is None or before.document == document  # else it is old, or invalid
        if is_stored and was == document and not source_digest:
            return None
        return _add(before, document, by, why=why, origin=origin, source_digest=source_digest)


def restore(
    number: int, *, by: Caller | None, origin: str, base: int | None = None
) -> SettingsVersion:
    """Store an earlier version again, as the newest one. number: 0: the defaults.

    Raises InvalidInputError if it is invalid for this program, ConflictError as `save` does.
    """
    require(by, Right.SETTINGS)
    with transaction.atomic():
        before = _locked(base)
        document, _after = _checked({}, _version(number), stored=document_of(before))
        why = f"Version {number} restored." if number else "The defaults restored."
        return _add(before, document, by, why=why, origin=origin, restored=number)


def _version(number: int) -> Json:
    if number == 0:
        return {}
    wanted = SettingsVersion.objects.filter(pk=number).first()
    if wanted is None:
        detail = f"There is no version {number}."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="version")
    document: Json = wanted.document
    return document


def faults_as_error(faults: Sequence[Fault]) -> list[InvalidInputError]:
    """Return faults of a document as errors of an input, each with its path."""
    return [
        InvalidInputError(Code.FIELD_INVALID, fault.sentence, field=fault.path or "document")
        for fault in faults
    ]


def _checked(before: Json, changes: Mapping[str, Any], *, stored: Json) -> tuple[Json, Document]:
    """Return `before` with the changes, as JSON and read.

    stored: what is in force. What another release left in it that only this one refuses, such as a
    text with a placeholder of old, stops no change of another setting.
    """
    document = merged(before, changes)
    try:
        found = read(document, lease_seconds=settings.FILLCAST_LEASE_SECONDS)
    except InvalidDocumentError as error:
        raise_all(faults_as_error(error.faults))
        raise
    if faults := further_faults(found):
        known = _further_faults_of(stored)
        raise_all(faults_as_error([fault for fault in faults if fault not in known]))
    return dump(found), found


def _further_faults_of(stored: Json) -> Sequence[Fault]:
    try:
        return further_faults(read(stored))
    except InvalidDocumentError:  # nothing of it is known, such as what was right in it
        return []


def _reason(why: str) -> str:
    why = " ".join(why.split())
    if not why or len(why) > WHY_LONGEST or not why.isprintable():
        detail = f"State why, in at most {WHY_LONGEST} characters."
        raise InvalidInputError(Code.FIELD_INVALID, detail, field="why")
    return why


def _locked(base: int | None) -> SettingsVersion | None:
    """Return the newest version; no other transaction stores one before the caller's ends."""
    rows(_LOCK)
    before = newest()
    if base is None or base == number_of(before):
        return before
    detail = f"Version {number_of(before)} was stored meanwhile"
    if before is not None:
        detail += f" by {before.username or 'a process'} ({before.why.rstrip('.')})"
    raise ConflictError(
        Code.STATE_CONFLICT,
        f"{detail}; you began with version {base}. Look at what changed, then save again.",
        value=number_of(before),
    )


def _add(
    before: SettingsVersion | None,
    document: Json,
    by: Caller | None,
    *,
    why: str,
    origin: str,
    restored: int | None = None,
    source_digest: str = "",
) -> SettingsVersion:
    user_id = int(by.pk) if by is not None else None
    with changed_by(user_id, why=why):
        version = SettingsVersion.objects.create(
            id=number_of(before) + 1,
            document=document,
            user_id=user_id,
            username=getattr(by, "username", ""),
            origin=origin,
            why=why,
            restored=restored,
            source_digest=source_digest,
        )
    # This process at once, the others within two seconds.
    transaction.on_commit(lambda: current.refresh(), robust=True)
    return version

"""The doctor's check of the operational settings: what is in force, and what is refused."""

from django.conf import settings

from brokers.types import Check
from common.operational import current, source, store
from common.operational.source import SourceError
from ops.doctor.verdicts import CheckFunction, failure, warning, well

NAME = "settings"


def operational() -> list[Check]:
    """Check that the newest version is in force, and that the central source can be read."""
    found = current.in_force()
    which = f"Version {found.number}" if found.number else "What holds without a version"
    if found.faults:
        detail = f"Version {found.seen.number} is invalid: {'; '.join(map(str, found.faults))}"
        remedy = f"{which} stays in force. Save valid settings or restore a version in the console."
        checks = [failure(NAME, detail, remedy)]
    elif not found.document.position_reconciliation.enabled:
        detail = f"{which} is in force. Accounts are not compared with their brokers at intervals."
        checks = [warning(NAME, detail, "Set position_reconciliation.enabled to true.")]
    else:
        checks = [well(NAME, f"{which} is in force.")]
    where = settings.FOLLOWED_SETTINGS_SOURCE
    return [*checks, _source(where)] if where else checks


def _source(where: str) -> Check:
    name = "settings source"
    try:
        text = source.fetch(where)
    except SourceError as error:
        remedy = "What is in force stays. Correct the source or FILLCAST_SETTINGS_SOURCE."
        return warning(name, str(error), remedy)
    if text.digest == store.last_digest():
        return well(name, "Its document is stored as a version.")
    return warning(
        name,
        "Its document is not stored: it is new, or it is refused.",
        "If that stays so, run `manage.py operational_settings check` with its document.",
    )


CHECKS: list[tuple[str, CheckFunction]] = [(NAME, operational)]

"""The doctor's check of the certificate files that this process's settings name.

An ended one stops no open connection, but every new one: it is noticed before that.
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509

from brokers.types import Check
from buses.sinks import named_urls
from common.certificate_files import CertificateFile, certificate_files
from ops.doctor.verdicts import CheckFunction, failure, warning, well

NAME = "certificates"
SOON = timedelta(days=30)
REPLACE = (
    "Put a new one in its place, then restart the processes that use it. Of"
    " deploy/outside-certificates: docs/metatrader5.md#workers-outside."
)
REISSUE = " A new authority has to issue again what the old one did."
ASK_BUSES = (
    "Only the processes of buses use it. Run the doctor where they run; if it is not there either,"
    " correct the setting."
)
CORRECT = "Correct the setting, or put a certificate in PEM form there that this user may read."


def certificates() -> list[Check]:
    """Check each file that the settings of this process name, once."""
    files = certificate_files(named_urls())
    if not files:
        return [well(NAME, "The settings of this process name no certificate file.")]
    now = datetime.now(UTC)
    return [judge_file(file, now) for file in files]


def judge_file(file: CertificateFile, now: datetime) -> Check:
    """Judge one file by all that name it."""
    where = f"{file.path} ({file.labels})"
    try:
        found = file.certificate()
    except OSError as error:
        if file.may_be_elsewhere(error):
            return warning(NAME, f"{where} is not there for this process.", ASK_BUSES)
        detail = f"{where} cannot be read: {error.strerror or type(error).__name__}."
        return failure(NAME, detail, CORRECT)
    except ValueError:
        return failure(NAME, f"{where} has no certificate in PEM form, or a broken one.", CORRECT)
    return judge_dates(where, found, now, remedy=REPLACE + (REISSUE if file.is_authority else ""))


def judge_dates(where: str, found: x509.Certificate, now: datetime, *, remedy: str) -> Check:
    """Judge a certificate by its first and last day."""
    subject = f"{where}: {found.subject.rfc4514_string() or 'a certificate without a subject'}"
    start, end = found.not_valid_before_utc, found.not_valid_after_utc
    if end < now:
        detail = f"{subject} ended at {_shown(end)}. New connections by it are refused."
        return failure(NAME, detail, remedy)
    if start > now:
        detail = f"{subject} begins at {_shown(start)}. Until then connections by it are refused."
        return failure(NAME, detail, remedy)
    if end - now <= SOON:
        return warning(NAME, f"{subject} ends at {_shown(end)}.", remedy)
    return well(NAME, f"{subject} is valid until {_shown(end)}.")


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


CHECKS: list[tuple[str, CheckFunction]] = [(NAME, certificates)]

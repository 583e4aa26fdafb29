"""The doctor's check of the certificate files that this process's settings name.

An ended one stops no open connection, but every new one: it is noticed before that.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from django.conf import settings
from django.db import connections

from brokers.types import Check
from buses.sinks import name_of
from ops.doctor.verdicts import CheckFunction, failure, warning, well

NAME = "certificates"
SOON = timedelta(days=30)
OF_POSTGRES = ("sslrootcert", "sslcert")
OF_REDIS = ("ssl_ca_certs", "ssl_certfile")
OF_BUSES = ("ca",)
AUTHORITIES = frozenset({"sslrootcert", "ssl_ca_certs", *OF_BUSES})
SYSTEM = "system"  # to libpq: the authorities of the operating system
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


@dataclass(frozen=True, slots=True)
class Named:
    """A certificate file. option: what names it; setting: where that option is."""

    path: str
    option: str
    setting: str

    @property
    def label(self) -> str:
        """What names the file, as operators know it; without secrets."""
        return f"{self.option} of {self.setting}"


def certificates() -> list[Check]:
    """Check each file that the settings of this process name, once."""
    by_path: dict[str, list[Named]] = {}
    for named in named_files(os.environ):
        by_path.setdefault(named.path, []).append(named)
    if not by_path:
        return [well(NAME, "The settings of this process name no certificate file.")]
    now = datetime.now(UTC)
    return [judge_file(named, now) for named in by_path.values()]


def named_files(environ: Mapping[str, str]) -> Iterator[Named]:
    """Yield the certificate files of PostgreSQL, Redis and buses."""
    for alias, entry in connections.settings.items():
        yield from _of_database(alias, entry.get("OPTIONS", {}), environ)
    yield from _of_url("REDIS_URL", settings.REDIS_URL, OF_REDIS)
    for url in (*settings.SINKS, *settings.INCOMING_BUSES):
        yield from _of_url(name_of(url), url, OF_BUSES)


def _of_database(
    alias: str, options: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Named]:
    """Yield the files of a URL, or those that libpq takes from the environment without them."""
    for option in OF_POSTGRES:
        path = options.get(option) or environ.get(f"PG{option.upper()}")
        if path and path != SYSTEM:
            yield Named(path, option, f"the database ({alias})")


def _of_url(setting: str, url: str, options: tuple[str, ...]) -> Iterator[Named]:
    given = parse_qs(urlsplit(url).query)
    for option in options:
        if option in given:
            yield Named(given[option][-1], option, setting)


def judge_file(named: list[Named], now: datetime) -> Check:
    """Judge one file by all that name it."""
    where = f"{named[0].path} ({', '.join(one.label for one in named)})"
    try:
        found = _read(Path(named[0].path))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and all(one.option in OF_BUSES for one in named):
            return warning(NAME, f"{where} is not there for this process.", ASK_BUSES)
        detail = f"{where} cannot be read: {error.strerror or type(error).__name__}."
        return failure(NAME, detail, CORRECT)
    except ValueError:
        return failure(NAME, f"{where} has no certificate in PEM form, or a broken one.", CORRECT)
    is_authority = all(one.option in AUTHORITIES for one in named)
    return judge_dates(where, found, now, is_authority=is_authority)


def _read(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a file. Raises OSError, ValueError."""
    with warnings.catch_warnings():  # of oddities in bundles of operating systems
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_pem_x509_certificates(path.read_bytes())


def judge_dates(
    where: str, found: list[x509.Certificate], now: datetime, *, is_authority: bool
) -> Check:
    """Judge the certificates of a file.

    A chain is as good as the one that ends first. Of authorities any may do, such as the new one
    beside the old: the one that ends last counts.
    """
    choose = max if is_authority else min
    one = choose(found, key=lambda each: each.not_valid_after_utc)
    subject = f"{where}: {one.subject.rfc4514_string() or 'a certificate without a subject'}"
    remedy = REPLACE + (REISSUE if is_authority else "")
    start, end = one.not_valid_before_utc, one.not_valid_after_utc
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

"""Which certificate files the settings of this process name, and when each ends."""

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from django.conf import settings
from django.db import connections

OF_POSTGRES = ("sslrootcert", "sslcert")
OF_REDIS = ("ssl_ca_certs", "ssl_certfile")
OF_BUSES = ("ca",)
AUTHORITIES = frozenset({"sslrootcert", "ssl_ca_certs", *OF_BUSES})
SYSTEM = "system"  # to libpq: the authorities of the operating system


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


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A file, and all that name it."""

    path: str
    names: list[Named]

    @property
    def is_authority(self) -> bool:
        """Whether it holds only what others are checked by."""
        return all(name.option in AUTHORITIES for name in self.names)

    def may_be_elsewhere(self, error: OSError) -> bool:
        """Whether a file that cannot be read is only not here: where the buses' processes run."""
        is_of_buses = all(name.option in OF_BUSES for name in self.names)
        return is_of_buses and isinstance(error, FileNotFoundError)

    @property
    def labels(self) -> str:
        return ", ".join(name.label for name in self.names)

    def certificate(self) -> x509.Certificate:
        """Return the certificate whose dates count. Raises OSError, ValueError (not PEM).

        A chain is as good as the one that ends first. Of authorities any may do, such as the new
        one beside the old: the one that ends last counts.
        """
        choose = max if self.is_authority else min
        return choose(self._read(), key=lambda each: each.not_valid_after_utc)

    def _read(self) -> list[x509.Certificate]:
        with warnings.catch_warnings():  # of oddities in bundles of operating systems
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return x509.load_pem_x509_certificates(Path(self.path).read_bytes())


def certificate_files(buses: Iterable[tuple[str, str]]) -> list[CertificateFile]:
    """Return each file once that PostgreSQL, Redis and buses use in this process.

    buses: of each the name that operators know, and its URL.
    """
    by_path: dict[str, list[Named]] = {}
    for named in _named_files(os.environ, buses):
        by_path.setdefault(named.path, []).append(named)
    return [CertificateFile(path, names) for path, names in by_path.items()]


def _named_files(environ: Mapping[str, str], buses: Iterable[tuple[str, str]]) -> Iterator[Named]:
    for alias, entry in connections.settings.items():
        yield from _of_database(alias, entry.get("OPTIONS", {}), environ)
    yield from _of_url("REDIS_URL", settings.REDIS_URL, OF_REDIS)
    for name, url in buses:
        yield from _of_url(name, url, OF_BUSES)


def _of_database(
    alias: str, options: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Named]:
    """Yield the files of a URL, or those that libpq takes from the environment without them."""
    for option in OF_POSTGRES:
        path = options.get(option) or environ.get(f"PG{option.upper()}")
        if path and path != SYSTEM:
            yield Named(path, option, f"the database ({alias})")


def _of_url(setting: str, url: str, options: Iterable[str]) -> Iterator[Named]:
    given = parse_qs(urlsplit(url).query)
    for option in options:
        if option in given:
            yield Named(given[option][-1], option, setting)

"""The doctor reads each certificate file that the settings name, before it ends."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from django.db import connections
from pytest_django import Settings

from brokers.types import Check, CheckResult
from config.databases import database
from config.env import Settings as Environment
from ops.doctor import certificates as doctor
from ops.doctor.examination import WITHOUT_DATABASE
from ops.doctor.verdicts import FAIL, OK, WARN
from tests.certificates import self_signed


@pytest.fixture(autouse=True)
def _nothing_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no setting name a file; a test names its own."""
    monkeypatch.setattr(connections, "settings", {"default": {"OPTIONS": {}}})
    settings.REDIS_URL = "redis://redis.example/0"
    settings.SINKS = settings.INCOMING_BUSES = ()
    for name in ("PGSSLCERT", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)


def written(path: Path, *certificates: tuple[float, float]) -> str:
    """Write certificates with the days in which each begins and ends; return the path."""
    files = [
        self_signed(f"cert-{number}", begins_in_days=begins, ends_in_days=ends)[0]
        for number, (begins, ends) in enumerate(certificates)
    ]
    path.write_bytes(b"".join(files))
    return str(path)


def of_redis(settings: Settings, option: str, path: str) -> Check:
    settings.REDIS_URL = f"rediss://:s3cret@redis.example/0?{option}={path}"
    (check,) = doctor.certificates()
    assert check.name == "certificates"
    assert "s3cret" not in check.detail
    assert check.result is OK or check.hint
    return check


def test_no_named_file_is_stated() -> None:
    (check,) = doctor.certificates()
    assert (check.result, "no certificate file" in check.detail) == (OK, True)


@pytest.mark.parametrize(
    ("begins", "ends", "verdict", "text"),
    [
        (-900, 31, OK, "is valid until"),
        (-900, 29.9, WARN, "ends at"),
        (-900, 0.01, WARN, "ends at"),
        (-900, -0.01, FAIL, "ended at"),
        (1, 400, FAIL, "begins at"),
    ],
)
def test_certificate_is_judged_by_its_times(
    settings: Settings, tmp_path: Path, begins: float, ends: float, verdict: CheckResult, text: str
) -> None:
    now = datetime.now(UTC)
    with time_machine.travel(now, tick=False):
        path = written(tmp_path / "alpha.pem", (begins, ends))
        check = of_redis(settings, "ssl_certfile", path)
    assert check.result is verdict
    assert f"{path} (ssl_certfile of REDIS_URL): CN=cert-0 {text} " in check.detail
    shown = begins if text == "begins at" else ends
    assert f"{now + timedelta(days=shown):%Y-%m-%d}" in check.detail


def test_chain_ends_with_its_first_and_authorities_with_their_last(
    settings: Settings, tmp_path: Path
) -> None:
    path = written(tmp_path / "both.pem", (-900, 400), (-900, -1))
    assert of_redis(settings, "ssl_certfile", path).result is FAIL
    assert of_redis(settings, "ssl_ca_certs", path).result is OK  # the new one beside the old
    path = written(tmp_path / "old.pem", (-900, -3), (-900, -1))
    check = of_redis(settings, "ssl_ca_certs", path)
    assert check.result is FAIL
    assert "issue again" in check.hint


def test_unusable_file_fails_with_the_cause(settings: Settings, tmp_path: Path) -> None:
    check = of_redis(settings, "ssl_certfile", str(tmp_path / "absent.pem"))
    assert (check.result, "absent.pem" in check.detail) == (FAIL, True)
    assert "cannot be read: No such file or directory." in check.detail
    assert of_redis(settings, "ssl_certfile", str(tmp_path)).result is FAIL  # a folder
    for content in (b"", b"\x30\x82\xff", self_signed("x", ends_in_days=9)[1]):
        (tmp_path / "other.pem").write_bytes(content)
        check = of_redis(settings, "ssl_certfile", str(tmp_path / "other.pem"))
        assert (check.result, "no certificate in PEM form" in check.detail) == (FAIL, True)


def test_files_of_every_setting_are_found_and_each_is_judged_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("ca", "alpha", "bus")
    ca, alpha, bus = (written(tmp_path / f"{name}.pem", (-1, 99)) for name in names)
    url = f"postgresql://trade:pw@db.example/x?sslmode=verify-full&sslrootcert={ca}&sslcert={alpha}"
    entry = database(Environment(database_url=url, db_role="trade"))
    monkeypatch.setattr(connections, "settings", {"default": entry, "direct": entry})
    settings.REDIS_URL = f"rediss://:pw@redis.example/0?ssl_ca_certs={ca}&ssl_certfile={alpha}"
    settings.SINKS = (f"kafka://u:pw@kafka.example/events?tls=yes&ca={bus}",)
    settings.INCOMING_BUSES = (f"clickhouse://u:pw@ch.example/db?tls=yes&ca={bus}",)
    found = {check.detail.partition(" (")[0]: check.detail for check in doctor.certificates()}
    assert list(found) == [ca, alpha, bus]
    assert "sslcert of the database (default), sslcert of the database (direct)" in found[alpha]
    assert "ssl_certfile of REDIS_URL" in found[alpha]
    assert "ca of kafka://kafka.example/events, ca of clickhouse://ch.example/db" in found[bus]
    assert not any("pw" in detail for detail in found.values())


def test_what_libpq_takes_from_the_environment_counts_without_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLCERT", written(tmp_path / "env.pem", (-9, -1)))
    assert [check.result for check in doctor.certificates()] == [FAIL]
    options = {"sslcert": written(tmp_path / "own.pem", (-9, 99)), "sslrootcert": "system"}
    monkeypatch.setattr(connections, "settings", {"default": {"OPTIONS": options}})
    assert [check.result for check in doctor.certificates()] == [OK]


def test_check_runs_also_without_the_database() -> None:
    """An ended certificate is why it does not answer."""
    assert ("certificates", doctor.certificates) in WITHOUT_DATABASE


def test_file_that_only_the_bus_process_has_is_a_warning(
    settings: Settings, tmp_path: Path
) -> None:
    """The doctor runs in another container."""
    settings.SINKS = (f"nats+tls://nats.example:4222?ca={tmp_path / 'absent.pem'}",)
    (check,) = doctor.certificates()
    assert (check.result, "not there for this process" in check.detail) == (WARN, True)
    assert "Run the doctor where they run" in check.hint

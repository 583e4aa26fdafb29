"""The central source: followed, verified, refused as a whole; it stops no reader of settings."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import transaction

from common.db.sql import run
from common.models import SettingsVersion
from common.operational import current, source, store
from common.operational.current import settings_now
from common.operational.reading import InvalidDocumentError
from events import settings_upkeep
from events.models import Event
from ops.doctor.operational import operational
from tests.common.operational.test_document import SPECIFIED
from tests.roles import staff

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]
POLL = '{"execution": {"poll_seconds": 1}}'


class Answer(BaseHTTPRequestHandler):
    """What the server of a test answers."""

    body: ClassVar[bytes] = b"{}"
    status: ClassVar[int] = 200
    headers_sent: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A real server on this machine."""
    Answer.body, Answer.status, Answer.headers_sent = b"{}", 200, {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/settings.json"
        server.shutdown()


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has read no source yet."""
    monkeypatch.setattr(settings_upkeep, "_seen", None)
    monkeypatch.setattr(settings_upkeep, "_obstacle", "")


def alarms() -> list[dict[str, Any]]:
    return [event.payload for event in Event.objects.filter(kind="settings.refused")]


def test_document_of_a_url_becomes_a_version_once(url: str) -> None:
    Answer.body = SPECIFIED.encode()
    version = settings_upkeep.follow_source(url)
    assert version is not None
    assert (version.origin, version.username, version.user_id) == ("central", "", None)
    assert settings_now().order_defaults.max_slippage_pips == 3
    assert settings_upkeep.follow_source(url) is None
    Answer.body = POLL.encode()
    assert settings_upkeep.follow_source(url) is not None
    assert settings_now().execution.poll_seconds == 1
    assert settings_now().order_defaults.max_slippage_pips == 3  # what it leaves out stays
    assert SettingsVersion.objects.count() == 2


def test_unchanged_source_undoes_no_change_of_a_person(url: str) -> None:
    Answer.body = POLL.encode()
    settings_upkeep.follow_source(url)
    store.save({"execution": {"poll_seconds": 4}}, by=None, why="By hand.", origin="console")
    assert settings_upkeep.follow_source(url) is None
    assert settings_now().execution.poll_seconds == 4


def test_file_is_followed_as_a_url_is(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(POLL)
    assert settings_upkeep.follow_source(str(file)) is not None
    file.write_text('{"execution": {"poll_seconds": 3}}')
    assert settings_upkeep.follow_source(str(file)) is not None
    assert settings_now().execution.poll_seconds == 3


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{", "not valid JSON"),
        (b'{"execution": {"poll_seconds": 1, "stuck_seconds": 0}}', "execution.stuck_seconds"),
        (b'{"of_tomorrow": {}}', "Unknown key"),
        (b'{"execution": {"send_deadline_seconds": 9, "call_timeout_seconds": 60}}', "absence_gap"),
    ],
)
def test_invalid_document_is_refused_as_a_whole_with_one_alarm(
    url: str, body: bytes, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answer.body = body
    for _ in range(3):
        assert settings_upkeep.follow_source(url) is None
        monkeypatch.setattr(settings_upkeep, "_seen", None)  # as another process would see it
    (alarm,) = alarms()
    assert fault in " ".join(alarm["faults"])
    assert not SettingsVersion.objects.exists()
    assert settings_now().execution.poll_seconds == 2
    Answer.body = POLL.encode()
    assert settings_upkeep.follow_source(url) is not None


@pytest.mark.parametrize("status", [301, 404, 500])
def test_source_that_has_no_answer_changes_nothing(
    url: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    Answer.status, Answer.headers_sent = status, {"Location": "http://127.0.0.1:1/"}
    for _ in range(3):
        assert settings_upkeep.follow_source(url) is None
    assert str(status) in settings_upkeep.last_obstacle()
    assert not alarms()
    assert len([r for r in caplog.records if "cannot be read" in r.getMessage()]) == 1


def test_silent_source_ends_with_its_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(source, "SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert settings_upkeep.follow_source(f"http://127.0.0.1:{port}/") is None
    assert "timed out" in settings_upkeep.last_obstacle()


def test_endless_answer_is_not_read_to_its_end(url: str) -> None:
    Answer.body = b" " * 10_000_000
    assert settings_upkeep.follow_source(url) is None
    assert "more than 200,000 characters" in settings_upkeep.last_obstacle()


def test_only_a_signed_document_of_the_key_is_used(url: str) -> None:
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    where = f"{url}#ed25519={base64.b64encode(raw).decode()}"
    source.check_source(where)
    Answer.body = POLL.encode()
    forged = base64.b64encode(Ed25519PrivateKey.generate().sign(Answer.body)).decode()
    for signature in ({}, {source.SIGNATURE: "x"}, {source.SIGNATURE: forged}):
        Answer.headers_sent = signature
        assert settings_upkeep.follow_source(where) is None
    assert len(alarms()) == 1
    Answer.headers_sent = {source.SIGNATURE: base64.b64encode(key.sign(Answer.body)).decode()}
    assert settings_upkeep.follow_source(where) is not None


@pytest.mark.parametrize(
    "where", ["http://settings.example/a.json", "ftp://settings.example/a", "https:///a",
              "https://settings.example/a#sha256=x", '{"x": 1}'],
)  # fmt: skip
def test_source_without_tls_or_with_faults_is_refused_at_start(where: str) -> None:
    with pytest.raises(ValueError):
        source.check_source(where)


def test_source_is_the_base_until_a_version_is_stored(tmp_path: Path, settings: Any) -> None:
    file = tmp_path / "settings.json"
    file.write_text(POLL)
    settings.FILLCAST_SETTINGS_SOURCE = str(file)
    current.refresh()
    assert current.refresh().number == 0
    assert source.base_of(str(file)).execution.poll_seconds == 1
    assert source.base_of(POLL).execution.poll_seconds == 1
    assert source.base_of("https://settings.example/a.json").execution.poll_seconds == 2
    file.write_text("{")
    with pytest.raises(InvalidDocumentError):
        source.base_of(str(file))


def test_json_in_the_variable_becomes_a_version_in_production_only(settings: Any) -> None:
    """A worker elsewhere may have another variable, or none."""
    assert source.followed(POLL, production=False) == ""
    assert source.followed("/etc/settings.json", production=False) == "/etc/settings.json"
    settings.FOLLOWED_SETTINGS_SOURCE = source.followed(POLL, production=True)
    settings_upkeep.run()
    assert SettingsVersion.objects.get().document["execution"]["poll_seconds"] == 1
    settings_upkeep.run()
    assert SettingsVersion.objects.count() == 1


def test_json_in_the_variable_undoes_no_version_that_was_there_first(settings: Any) -> None:
    """Its settings were the base of the first version, which a person may have changed since."""
    store.save({"execution": {"poll_seconds": 4}}, by=None, why="By hand.", origin="console")
    settings.FOLLOWED_SETTINGS_SOURCE = source.followed(POLL, production=True)
    for _ in range(3):
        settings_upkeep.run()
    assert settings_now().execution.poll_seconds == 4
    noted = SettingsVersion.objects.get(pk=2)
    assert (noted.why, noted.origin) == (settings_upkeep.NOTED, "central")
    assert SettingsVersion.objects.count() == 2
    assert operational()[1].result == "ok"
    settings.FOLLOWED_SETTINGS_SOURCE = POLL.replace("1", "3")  # changed, for the first time
    settings_upkeep.run()
    assert settings_now().execution.poll_seconds == 3


def test_file_that_is_named_after_the_first_version_is_applied(tmp_path: Path) -> None:
    store.save({"execution": {"poll_seconds": 4}}, by=None, why="By hand.", origin="console")
    file = tmp_path / "settings.json"
    file.write_text(POLL)
    settings_upkeep.follow_source(str(file))
    assert settings_now().execution.poll_seconds == 1


@pytest.mark.parametrize("first", [None, '{"execution": {"stuck_seconds": 9}}'])
def test_version_that_a_failover_lost_is_stored_again(first: str | None) -> None:
    """The standby had not received it; the versions before it, and one by hand, may be there."""
    if first is not None:
        settings_upkeep.follow_source(first)
    lost = settings_upkeep.follow_source(POLL)
    assert lost is not None
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")  # versions are only added
        SettingsVersion.objects.filter(pk=lost.pk).delete()
        store.save({"fill_tracking": {"update_interval_seconds": 7}}, by=None, why="By hand.",
                   origin="console")  # fmt: skip
        run("SET LOCAL session_replication_role = origin")
    settings_upkeep.follow_source(POLL)
    assert settings_now().execution.poll_seconds == 1
    assert settings_now().fill_tracking.update_interval_seconds == 7
    assert settings_upkeep.follow_source(POLL) is None


def test_noted_json_that_a_failover_lost_is_noted_again() -> None:
    store.save({"execution": {"poll_seconds": 4}}, by=None, why="By hand.", origin="console")
    settings_upkeep.follow_source(POLL)
    with transaction.atomic():
        run("SET LOCAL session_replication_role = replica")  # versions are only added
        SettingsVersion.objects.filter(pk=2).delete()
        run("SET LOCAL session_replication_role = origin")
    settings_upkeep.follow_source(POLL)
    assert SettingsVersion.objects.get(pk=2).why == settings_upkeep.NOTED
    assert settings_now().execution.poll_seconds == 4


def test_version_that_is_stored_meanwhile_is_not_overwritten(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a person saves while the source is read, the next read decides."""
    real = store.last_from_source

    def saved_meanwhile() -> None:
        monkeypatch.setattr(store, "last_from_source", real)
        store.save({"execution": {"poll_seconds": 4}}, by=None, why="By hand.", origin="console")

    monkeypatch.setattr(store, "last_from_source", saved_meanwhile)
    assert settings_upkeep.follow_source(POLL) is None
    settings_upkeep.follow_source(POLL)
    assert settings_now().execution.poll_seconds == 4


def test_workers_with_different_sources_do_not_replace_each_others_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, settings_upkeep.Seen | None] = {POLL: None, POLL.replace("1", "3"): None}
    for _ in range(3):
        for text in seen:
            monkeypatch.setattr(settings_upkeep, "_seen", seen[text])
            settings_upkeep.follow_source(text)
            seen[text] = settings_upkeep._seen
    assert SettingsVersion.objects.count() == 2


def test_json_that_has_an_address_is_no_address() -> None:
    text = '{"order_defaults": {"max_slippage_pips": 3}, "unknown": "https://example.com"}'
    with pytest.raises(InvalidDocumentError):
        source.base_of(text)


def test_invalid_version_alerts_operators_once() -> None:
    SettingsVersion.objects.create(id=1, document={"x": 1}, origin="console", why="By hand.")
    current.refresh()
    for _ in range(3):
        settings_upkeep.run()
    (alarm,) = alarms()
    assert alarm["what"] == "Version 1 of the operational settings"
    assert alarm["stays"] == 0


def test_message_names_what_is_refused_and_what_stays() -> None:
    from events.messages import render
    from tests.events.test_messages import event  # the builder of that module

    message = render(event("settings.refused", what="Version 2", stays=1, faults=["a: b."]))
    assert message.title == "Version 2 is refused"
    assert "Version 1 stays in force" in message.body


def test_staff_alone_is_not_needed_for_the_source(url: str) -> None:
    """The system stores it: no person has to be signed in."""
    staff()
    Answer.body = POLL.encode()
    version = settings_upkeep.follow_source(url)
    assert version is not None
    assert version.why == "The central source has changed."

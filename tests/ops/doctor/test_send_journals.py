"""The doctor states where journals of sends are, and which process keeps none."""

import socket
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from execution.dispatch.journal_folder import journal_folder
from execution.dispatch.send_journal import SendJournal
from execution.models import WorkerLease
from ops.doctor import send_journals
from ops.doctor.verdicts import OK, WARN


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    settings.FILLCAST_VAR = tmp_path
    (tmp_path / "sends").mkdir()
    return journal_folder()


def in_memory(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    monkeypatch.setattr(send_journals, "is_in_memory", lambda folder: answer)


@pytest.mark.django_db
def test_process_without_a_journal_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory(monkeypatch, True)
    until = Now() + timedelta(hours=1)
    for name, host in (("one", socket.gethostname()), ("two", "elsewhere")):
        WorkerLease.objects.create(id=name, role="exits", host=host, pid=1, lease_until=until)
    found = send_journals.send_journals()
    assert found.result is WARN
    assert "1 of 1" in found.detail
    assert "one" in found.detail
    journal = SendJournal.open(folder, "one")
    assert send_journals.send_journals().result is OK
    journal.close()


@pytest.mark.django_db
@pytest.mark.parametrize("is_memory", [False, True])
def test_disk_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch, is_memory: bool) -> None:
    in_memory(monkeypatch, is_memory)
    assert "No process trades" in send_journals.send_journals().detail  # nor could it keep any
    until = Now() + timedelta(hours=1)
    host = socket.gethostname()
    WorkerLease.objects.create(id="one", role="exits", host=host, pid=1, lease_until=until)
    journal = SendJournal.open(folder, "one")
    found = send_journals.send_journals()
    assert found.result is (OK if is_memory else WARN)
    assert str(folder.parent) in found.detail
    journal.close()


def test_web_process_keeps_none(settings: Settings) -> None:
    settings.FILLCAST_DB_ROLE = "web"
    assert send_journals.send_journals().result is OK


def test_other_systems_keep_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_journals, "machine_start_id", lambda: "")
    assert send_journals.send_journals().result is WARN

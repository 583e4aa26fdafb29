"""The containers' health checks, as Docker runs them."""

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from common.process.readiness import announce_alive
from execution.models import WorkerLease
from ops import health
from tests.faults.postgres_clusters import url
from tests.ports import closed_port

ROOT = Path(__file__).parents[2]


def check(name: str) -> int:
    return health.main([name], {"DATABASE_URL": url()})


@pytest.mark.django_db(transaction=True)
def test_process_is_healthy_while_it_holds_its_lease() -> None:
    assert check("lease") == 1
    lease = WorkerLease(id="one", role="exits", host="elsewhere", pid=7)
    lease.lease_until = timezone.now() + timedelta(minutes=5)
    lease.save()
    assert check("lease") == 1  # another container's
    WorkerLease.objects.update(host=socket.gethostname())
    assert check("lease") == 0
    WorkerLease.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert check("lease") == 1


@pytest.mark.django_db(transaction=True)
def test_beat_is_healthy_while_it_starts_jobs() -> None:
    PeriodicTask.objects.all().delete()
    every = IntervalSchedule.objects.create(every=1, period="seconds")
    PeriodicTask.objects.create(name="x", task="x", interval=every, last_run_at=timezone.now())
    assert check("beat") == 0
    PeriodicTask.objects.update(last_run_at=timezone.now() - timedelta(minutes=3))
    assert check("beat") == 1


def test_process_of_buses_is_healthy_while_it_takes_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "alive"
    monkeypatch.setenv("FILLCAST_ALIVE_FILE", str(file))
    assert health.main(["alive"]) == 1  # it has not begun
    announce_alive()
    assert health.main(["alive"]) == 0
    os.utime(file, (0, 0))
    assert health.main(["alive"]) == 1
    announce_alive()
    assert health.main(["alive"]) == 0


def test_health_check_without_servers_fails_with_a_sentence() -> None:
    with closed_port() as port:
        environ = {
            **os.environ,
            "FILLCAST_LISTEN": str(port),
            "DATABASE_URL": f"postgresql://x@127.0.0.1:{port}/x",
        }
        for name in ("web", "lease", "beat"):
            result = subprocess.run(
                [sys.executable, "-m", "ops.health", name], cwd=ROOT, capture_output=True,
                text=True, check=False, env=environ,
            )  # fmt: skip
            assert result.returncode == 1
            assert "refused" in result.stdout
            assert result.stdout.startswith(f"{name}: ")


@pytest.mark.django_db(transaction=True)
def test_worker_is_not_restarted_because_its_database_is_away() -> None:
    """It keeps outcomes in memory until the database is back: a restart would lose them."""
    with closed_port() as port:
        away = {"DATABASE_URL": f"postgresql://x@127.0.0.1:{port}/x"}
        assert health.main(["lease"], {**away}) == 1
        assert health.main(["lease", "live"], {**away}) == 0
        assert health.main(["beat", "live"], {**away}) == 0
    assert health.main(["lease", "live"], {"DATABASE_URL": url()}) == 1  # it answers: no lease


def test_web_process_is_restarted_only_if_it_does_not_answer() -> None:
    with closed_port() as port:
        environ = {"FILLCAST_LISTEN": f"127.0.0.1:{port}"}
        assert health.main(["web", "live"], environ) == 1

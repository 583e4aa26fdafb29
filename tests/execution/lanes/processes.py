"""Processes that hold lanes, alive or dead."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from connections.models import LaneLease
from execution.models import WorkerLease
from execution.runtime.lane_leases import LaneLeaseManager, LaneSelection

LEASE = float(settings.FILLCAST_LEASE_SECONDS)

IN_A_LANE = "sessions.3"

BLOCKED_LOCKS = "SELECT 1 FROM pg_locks WHERE NOT granted"


def lane_manager(owner: str, *queues: str, lease: float = LEASE) -> LaneLeaseManager:
    """Return the lane manager of a process for these queues, with its own lease."""
    WorkerLease.objects.update_or_create(
        id=owner,
        defaults={
            "role": "+".join(queues), "host": "h", "pid": 1,
            "lease_until": timezone.now() + timedelta(minutes=5),
        },
    )  # fmt: skip
    return LaneLeaseManager(owner, LaneSelection.of(queues), lease)


def expire_leases(*owners: str) -> None:
    long_ago = timezone.now() - timedelta(minutes=1)
    WorkerLease.objects.filter(id__in=owners).update(lease_until=long_ago)
    LaneLease.objects.filter(owner__in=owners).update(until=long_ago)

"""Accounts that were spoken to and did not answer, and what was noted of them."""

from datetime import timedelta
from typing import Any

from connections import services
from connections.models import ConnectionHealth, ExecutionConnection, HostCircuit
from events.models import Event
from tests.connections import make


def connect(many: int = 1, **fields: Any) -> list[ExecutionConnection]:
    """Accounts at one host that were spoken to just now."""
    usual: dict[str, Any] = {"sealed_credentials": None, "exchange_name": "Kraken"}
    made = [make.connection(**{**usual, **fields}) for _ in range(many)]
    services.mark_used([row.pk for row in made])
    return made


def fail(*accounts: ExecutionConnection) -> None:
    services.mark_failures([(row.pk, "No answer.") for row in accounts])


def age(seconds: float) -> None:
    """What was noted was noted so long ago."""
    past = timedelta(seconds=seconds)
    for model, names in (
        (ConnectionHealth, ("last_error_at", "failing_since", "unreachable_at", "last_used_at",
                            "read_after", "last_connected_at", "circuit_open_until")),
        (HostCircuit, ("opened_at", "probe_at", "closed_at")),
    ):  # fmt: skip
        for row in model.objects.all():
            for name in names:
                if (value := getattr(row, name)) is not None:
                    setattr(row, name, value - past)
            row.save()


def kinds() -> list[str]:
    return list(Event.objects.order_by("id").values_list("kind", flat=True))


def status(of: ExecutionConnection) -> str:
    return ConnectionHealth.objects.get(pk=of.pk).status

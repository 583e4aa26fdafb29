"""Shorthands to create accounts that claim a broker account, and to test them."""

from typing import Any

from brokers.types import Check, CheckResult
from connections import services
from connections.health import connection_checks
from connections.models import ConnectionHealth, ExecutionConnection
from tests.connections.fake_brokers import Broker
from users.models import User

# True if a database session waits for another one.
BLOCKED = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


def connect(owner: User, **fields: Any) -> ExecutionConnection:
    defaults = {"name": f"of {owner}", "type": "paper", "account": "7", "by": owner, "user": owner}
    return services.create_connection(**{**defaults, **fields})


def run(row: ExecutionConnection, broker: Broker) -> list[Check]:
    return connection_checks.run_test(row.pk, adapter=broker)


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if check.result is CheckResult.FAIL]


def health_of(row: ExecutionConnection) -> ConnectionHealth:
    return ConnectionHealth.objects.get(pk=row.pk)


def claim(row: ExecutionConnection) -> str:
    return ExecutionConnection.objects.get(pk=row.pk).claim

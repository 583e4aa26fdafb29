"""Decision providers, calendars and answers for tests."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

from common.db.sql import database_now
from connections.credentials.provider_secrets import seal_secret
from connections.models import DecisionProvider, NewsCalendar, NewsEvent
from execution.models import EntryDecision, Order
from users.models import User

SECRET = "a secret of sixteen or more"
NEWS_AT = datetime(2026, 1, 2, 13, 30, tzinfo=UTC)


def provider_of(user: User | None = None, **fields: Any) -> DecisionProvider:
    """Return a stored provider; by default rules without any rule."""
    return DecisionProvider.objects.create(user=user, **{"name": "Rules", **fields})


def service_at(url: str, user: User | None = None, **fields: Any) -> DecisionProvider:
    """Return a stored provider that asks a web service; its requests are signed by SECRET."""
    provider = DecisionProvider(user=user, name="My model", kind="HTTP", url=url, **fields)
    provider.secret_sealed = seal_secret(SECRET, provider)
    provider.save()
    return provider


def calendar_of(user: User | None = None, name: str = "Calendar") -> NewsCalendar:
    """Return a stored calendar of one day with one event."""
    calendar = NewsCalendar.objects.create(
        name=name, user=user, event_count=1, starts_at=NEWS_AT - timedelta(hours=12),
        ends_at=NEWS_AT + timedelta(hours=12),
    )  # fmt: skip
    NewsEvent.objects.create(
        calendar=calendar, at=NEWS_AT, currency="USD", impact="HIGH", title="Payrolls"
    )
    return calendar


def answered(
    order: Order, provider: DecisionProvider, factor: str | None = "1", **fields: Any
) -> EntryDecision:
    """Store an answer about an order, as of now."""
    age = fields.pop("age", 0)
    values: dict[str, Any] = {
        "connection_id": order.connection_id, "provider": provider, "provider_name": provider.name,
        "factor": None if factor is None else D(factor), "latency_ms": 12,
        "asked_at": database_now() - timedelta(seconds=age), "answered_at": database_now(),
        "attempt": order.attempt, "failure": "" if factor is not None else "TIMEOUT",
    } | fields  # fmt: skip
    row, _ = EntryDecision.objects.update_or_create(order=order, defaults=values)
    return row

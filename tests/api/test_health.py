"""/healthz and /readyz."""

import pytest
from django.test import Client


def test_healthz_makes_no_queries(client: Client) -> None:
    assert client.get("/healthz").json() == {"ok": True}  # no database mark: it would fail


@pytest.mark.django_db
def test_readyz_checks_database_and_redis(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["checks"] == {"database": True, "redis": True}

"""/healthz and /readyz."""

import pytest
from django.test import Client


def test_healthz_asks_nobody(client: Client) -> None:
    assert client.get("/healthz").json() == {"ok": True}  # no database mark: it would fail


@pytest.mark.django_db
def test_readyz(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": True, "redis": True}

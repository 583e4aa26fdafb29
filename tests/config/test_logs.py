"""No secret gets into a log, whatever its name and format."""

import pytest

from config import logs


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "canary"),
        ("api_key", "canary"),
        ("headers", {"Authorization": "Bearer canary", "Cookie": ["canary"]}),
        ("accounts", [{"login": 7, "secrets": {"a": "canary"}}]),
        ("event", "cannot reach redis://:canary@127.0.0.1:6379/0"),
        ("exception", "OperationalError: postgresql://owner:canary@db/x refused"),
        ("event", "login failed: {'password': 'canary', 'login': 5}"),
        ("event", "token=canary"),
    ],
)
def test_secret_is_redacted_from_log_entry(name: str, value: object) -> None:
    redacted = logs.redact(None, "info", {name: value})
    assert "canary" not in repr(redacted)
    assert logs.HIDDEN in repr(redacted)


def test_log_entry_without_secrets_is_unchanged() -> None:
    entry = {"event": "order filled", "quantity": 3, "url": "https://broker.example/v1"}
    assert logs.redact(None, "info", dict(entry)) == entry

"""A broker type whose package is missing or broken does not stop the work for the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers import registry
from brokers.registry import broker_types, capabilities_if_usable
from connections import eligibility
from execution.audit import counters
from execution.recovery import order_polling

ERRORS = [
    "raise RuntimeError('compiled against another version of numpy')",
    "import a_library_that_is_not_installed",
    "create = None",
    "create = lambda: unknown_name",
    "def create(:",
]


@pytest.fixture(params=ERRORS)
def broken_type(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Install a broker type whose package cannot be used."""
    name = f"broken_package_{ERRORS.index(request.param)}"
    (tmp_path / f"{name}.py").write_text(f"{request.param}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.BUILT_IN, "broken", f"{name}:create")
    _clear_caches()
    yield "broken"
    _clear_caches()


def _clear_caches() -> None:
    broker_types.cache_clear()
    order_polling.polled_broker_types.cache_clear()
    eligibility.needs_credentials.cache_clear()


@pytest.mark.parametrize("with_library", [True, False])
def test_unusable_type_has_no_capabilities(
    broken_type: str, with_library: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "brokers.registry")
    assert capabilities_if_usable(broken_type, with_library=with_library) is None
    assert f"broker type {broken_type} cannot be used in this process" in caplog.text


def test_other_types_are_polled(broken_type: str) -> None:
    assert broken_type in broker_types()
    assert "mt5" in order_polling.polled_broker_types()
    assert broken_type not in order_polling.polled_broker_types()


def test_unusable_type_needs_credentials(broken_type: str) -> None:
    assert broken_type in eligibility.broker_types_with_credentials()


def test_audit_leaves_unusable_type_out(broken_type: str) -> None:
    assert not counters._has_books(broken_type)
    assert counters._has_books("paper")

"""docker-compose.yml: the optional gateway, and who reaches it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

TRADING = {"exits", "execution", "maintenance", "sessions"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    text = (Path(__file__).parents[2] / "docker-compose.yml").read_text()
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def test_the_gateway_is_optional_pinned_and_takes_orders_on_paper(
    services: dict[str, dict[str, Any]],
) -> None:
    gateway = services["ib-gateway"]
    assert gateway["profiles"] == ["ibkr"]
    version = gateway["image"].rpartition(":")[2]
    assert version[0].isdigit()  # neither latest nor stable
    said = gateway["environment"]
    assert said["READ_ONLY_API"] == "no"
    assert said["TRADING_MODE"] == "${TRADING_MODE:-paper}"
    assert said["TWS_PASSWORD"] == "${TWS_PASSWORD:-}"  # from the environment, not from here
    assert "ports" not in gateway  # its API has no password


def test_only_who_trades_reaches_the_gateway(services: dict[str, dict[str, Any]]) -> None:
    near = {name for name, one in services.items() if "gateways" in one.get("networks", ())}
    assert near == TRADING | {"ib-gateway"}
    assert all("default" in services[name]["networks"] for name in TRADING)

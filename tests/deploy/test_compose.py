"""docker-compose.yml: the optional gateway, and who reaches it."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.env import VARIABLES

# The image says these, a service's own part does, or no container is meant.
NOT_OURS_TO_SAY = {
    "FILLCAST_ENV", "FILLCAST_ENV_FILE", "FILLCAST_VAR", "FILLCAST_BIND", "FILLCAST_PORT",
    "FILLCAST_LOG_FORMAT", "FILLCAST_DEBUG", "FILLCAST_FAILPOINTS", "FILLCAST_MARKET_CLOCK",
    "DATABASE_URL", "FILLCAST_WEB_DATABASE_URL", "FILLCAST_TRADE_DATABASE_URL", "FILLCAST_DB_ROLE",
    "FILLCAST_CREDENTIALS_PRIVATE_KEYS", "FILLCAST_MT5_TERMINAL",
    "FILLCAST_MT5_PORTABLE", "FILLCAST_MT5_NAME",
}  # fmt: skip
TEXT = (Path(__file__).parents[2] / "docker-compose.yml").read_text()
TRADING = {"exits", "execution", "maintenance", "sessions"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
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


def test_what_an_operator_may_set_reaches_every_process_of_ours(
    services: dict[str, dict[str, Any]],
) -> None:
    """A name that is not handed on does not exist inside: `.env` stays outside of the image."""
    wanted = {variable.name for variable in VARIABLES} - NOT_OURS_TO_SAY
    for name in TRADING | {"web", "beat", "prices", "migrate"}:
        assert wanted <= services[name]["environment"].keys(), name
    web = services["web"]["environment"]
    assert "FILLCAST_CREDENTIALS_PRIVATE_KEYS" not in web  # it could open what tenants have sealed


def test_terminals_folders_are_where_their_sessions_are(
    services: dict[str, dict[str, Any]],
) -> None:
    root = services["sessions"]["environment"]["FILLCAST_MT4_ROOT"]
    assert [one.rpartition(":")[2] for one in services["sessions"]["volumes"]] == [root]


def test_nobody_is_given_a_gateways_address_by_chance() -> None:
    [net] = yaml.safe_load(TEXT)["networks"]["gateways"]["ipam"]["config"]
    said = {name: value.partition(":-")[2].rstrip("}") for name, value in net.items()}
    gateway = IPv4Address("10.213.77.10")
    assert gateway in IPv4Network(said["subnet"])
    assert gateway not in IPv4Network(said["ip_range"])
    assert IPv4Network(said["ip_range"]).subnet_of(IPv4Network(said["subnet"]))

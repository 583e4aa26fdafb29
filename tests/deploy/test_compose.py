"""docker-compose.yml: settings, the optional gateway, and which processes reach it."""

import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.env import VARIABLES

# Set by the image or by a single service, or not meant for containers.
NOT_COMMON = {
    "FILLCAST_ENV", "FILLCAST_ENV_FILE", "FILLCAST_VAR", "FILLCAST_BIND", "FILLCAST_PORT",
    "FILLCAST_LOG_FORMAT", "FILLCAST_DEBUG", "FILLCAST_FAILPOINTS", "FILLCAST_MARKET_CLOCK",
    "DATABASE_URL", "FILLCAST_WEB_DATABASE_URL", "FILLCAST_TRADE_DATABASE_URL", "FILLCAST_DB_ROLE",
    "FILLCAST_REPLICA_DATABASE_URL", "FILLCAST_CREDENTIALS_PRIVATE_KEYS",
    "FILLCAST_PUSH_PRIVATE_KEYS", "FILLCAST_MT5_TERMINAL",
    "FILLCAST_MT5_PORTABLE", "FILLCAST_MT5_NAME", "FILLCAST_ARCHIVE_FOLDER",
    "FILLCAST_SEND_JOURNAL_FOLDER",
}  # fmt: skip
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SENDS = "/srv/fillcast/sends"
TRADING = {"exits", "execution", "maintenance", "sessions"}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
    return services


def test_gateway_is_optional_pinned_and_trades_on_paper(
    services: dict[str, dict[str, Any]],
) -> None:
    gateway = services["ib-gateway"]
    assert gateway["profiles"] == ["ibkr"]
    version = gateway["image"].rpartition(":")[2]
    assert version[0].isdigit()  # neither latest nor stable
    environment = gateway["environment"]
    assert environment["READ_ONLY_API"] == "no"
    assert environment["TRADING_MODE"] == "${TRADING_MODE:-paper}"
    assert environment["TWS_PASSWORD"] == "${TWS_PASSWORD:-}"  # from the environment, not from here
    assert "ports" not in gateway  # its API has no password


def test_only_trading_processes_reach_the_gateway(services: dict[str, dict[str, Any]]) -> None:
    reaching = {name for name, s in services.items() if "gateways" in s.get("networks", ())}
    assert reaching == TRADING | {"ib-gateway"}
    assert all("default" in services[name]["networks"] for name in TRADING)


def test_every_setting_is_passed_to_every_process(
    services: dict[str, dict[str, Any]],
) -> None:
    """A variable that is not passed on does not exist inside: `.env` is not in the image."""
    expected = {variable.name for variable in VARIABLES} - NOT_COMMON
    for name in TRADING | {"web", "beat", "prices", "migrate"}:
        assert expected <= services[name]["environment"].keys(), name
    web = services["web"]["environment"]
    assert (
        "FILLCAST_CREDENTIALS_PRIVATE_KEYS" not in web
    )  # it must not decrypt tenants' credentials
    assert "FILLCAST_PUSH_PRIVATE_KEYS" not in web


def folders_of(service: dict[str, Any]) -> set[str]:
    return {volume.rpartition(":")[2] for volume in service.get("volumes", ())}


def test_terminal_folders_are_mounted_in_session_workers(
    services: dict[str, dict[str, Any]],
) -> None:
    root = services["sessions"]["environment"]["FILLCAST_MT4_ROOT"]
    assert folders_of(services["sessions"]) == {root, SENDS}


def test_archive_is_on_a_volume_of_the_only_process_that_writes_it(
    services: dict[str, dict[str, Any]],
) -> None:
    """Without a volume, what was removed from the database would go with the container."""
    folders = {
        name: service["environment"]["FILLCAST_ARCHIVE_FOLDER"]
        for name, service in services.items()
        if "FILLCAST_ARCHIVE_FOLDER" in service.get("environment", {})
    }
    assert folders == {"maintenance": "/srv/archive"}
    assert folders_of(services["maintenance"]) == {"/srv/archive", SENDS}


def test_processes_that_send_orders_share_the_folder_of_their_sends(
    services: dict[str, dict[str, Any]],
) -> None:
    """So the others know what a killed one had not sent. The image creates it for its user."""
    sharing = {name for name in services if SENDS in folders_of(services[name])}
    assert sharing == TRADING | {"prices"}
    for name in sharing:
        assert services[name]["environment"]["FILLCAST_SEND_JOURNAL_FOLDER"] == SENDS
    volume = yaml.safe_load(TEXT)["volumes"]["sends"]["driver_opts"]
    assert (volume["type"], volume["device"]) == ("tmpfs", "tmpfs")
    user = re.search(r"--uid (\d+)", (ROOT / "deploy/Dockerfile").read_text())
    assert user is not None
    assert f"uid={user[1]}" in volume["o"].split(",")
    assert SENDS in (ROOT / "deploy/Dockerfile").read_text()


def test_gateway_address_is_outside_the_dynamic_range() -> None:
    [config] = yaml.safe_load(TEXT)["networks"]["gateways"]["ipam"]["config"]
    network = {name: value.partition(":-")[2].rstrip("}") for name, value in config.items()}
    gateway = IPv4Address("10.213.77.10")
    assert gateway in IPv4Network(network["subnet"])
    assert gateway not in IPv4Network(network["ip_range"])
    assert IPv4Network(network["ip_range"]).subnet_of(IPv4Network(network["subnet"]))

"""docker-compose.yml: settings, the optional gateway, and which processes reach it."""

import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.env import VARIABLES
from deploy.install import compose

# Set by the image or by a single service, or not meant for containers.
NOT_COMMON = {
    "FILLCAST_ENV", "FILLCAST_ENV_FILE", "FILLCAST_VAR", "FILLCAST_LISTEN", "FILLCAST_REHEARSAL",
    "FILLCAST_DB_ROLE", "FILLCAST_MT5_TERMINAL",
}  # fmt: skip
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SENDS, ARCHIVE = "/srv/fillcast/sends", "/srv/fillcast/archive"
STATE = "/srv/fillcast"
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
    assert "TWS_PASSWORD" not in environment  # a file: test_container_secrets.py
    assert "ports" not in gateway  # its API has no password


def test_only_trading_processes_reach_the_gateway(services: dict[str, dict[str, Any]]) -> None:
    reaching = {name for name, s in services.items() if "gateways" in s.get("networks", ())}
    assert reaching == TRADING | {"ib-gateway"}
    assert all("default" in services[name]["networks"] for name in TRADING)


def test_every_setting_is_passed_to_every_process(
    services: dict[str, dict[str, Any]],
) -> None:
    """A variable that is not passed on does not exist inside: `.env` is not in the image.

    Secrets are files: test_container_secrets.py.
    """
    in_files = {variable.name for variable in VARIABLES if variable.secret}
    in_files |= {"FILLCAST_SETTINGS_SOURCE"}
    expected = {variable.name for variable in VARIABLES} - NOT_COMMON - in_files
    for name in OWN:
        assert expected <= services[name]["environment"].keys(), name


def folders_of(service: dict[str, Any]) -> set[str]:
    volumes = [volume for volume in service.get("volumes", ()) if isinstance(volume, str)]
    return {volume.rpartition(":")[2] for volume in volumes}


def test_terminal_folders_are_mounted_in_session_workers(
    services: dict[str, dict[str, Any]],
) -> None:
    root = services["sessions"]["environment"]["FILLCAST_MT4_ROOT"]
    assert folders_of(services["sessions"]) == {root, STATE, SENDS}


def test_archive_is_on_a_volume_of_the_only_process_that_writes_it(
    services: dict[str, dict[str, Any]],
) -> None:
    """Without a volume, what was removed from the database would go with the container."""
    writing = {name for name in services if ARCHIVE in folders_of(services[name])}
    assert writing == {"maintenance"}
    assert folders_of(services["maintenance"]) == {ARCHIVE, STATE, SENDS}
    assert ARCHIVE in (ROOT / "deploy/Dockerfile").read_text()  # of its user


def test_processes_that_send_orders_share_the_folder_of_their_sends(
    services: dict[str, dict[str, Any]],
) -> None:
    """So the others know what a killed one had not sent. The image creates it for its user."""
    sharing = {name for name in services if SENDS in folders_of(services[name])}
    assert sharing == TRADING | {"prices"}
    assert "FILLCAST_VAR=/srv/fillcast " in (ROOT / "deploy/Dockerfile").read_text()
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


def test_restore_marks_survive_containers(services: dict[str, dict[str, Any]]) -> None:
    """A restored database is noticed by the high-water mark, so that must not go with one."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    assert f"FILLCAST_VAR={STATE} " in dockerfile
    keeping = {name for name in services if STATE in folders_of(services[name])}
    assert keeping == TRADING | {"prices"}
    assert "state" in yaml.safe_load(TEXT)["volumes"]
    # The files of pages belong to the image: on the volume they would be those of an old one.
    assert "ln -s /srv/static /srv/fillcast/static" in dockerfile


BUSES = {"buses", "receiver"}
OWN = TRADING | BUSES | {"web", "beat", "prices", "migrate"}


def test_every_process_is_confined(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert "mem_limit" in service, name
        assert "restart" in service, name
        if name != "ib-gateway":  # its programs write beside themselves
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
    for name in OWN:
        assert "cap_add" not in services[name], name


def test_every_process_has_a_health_check(services: dict[str, dict[str, Any]]) -> None:
    checks = {name: s["healthcheck"]["test"] for name, s in services.items() if name != "migrate"}
    for name in TRADING | {"prices"}:
        assert checks[name] == ["CMD", "python", "-m", "ops.health", "lease"]
    for name in BUSES:
        assert checks[name] == ["CMD", "python", "-m", "ops.health", "alive"]
        assert services[name]["environment"]["FILLCAST_ALIVE_FILE"].startswith("/tmp/")
        assert services[name]["profiles"] == [name]
    assert checks["web"][-1] == "web"
    assert checks["beat"][-1] == "beat"


def test_caddy_has_its_address_outside_the_dynamic_range(
    services: dict[str, dict[str, Any]],
) -> None:
    [config] = yaml.safe_load(TEXT)["networks"]["default"]["ipam"]["config"]
    address = services["caddy"]["networks"]["default"]["ipv4_address"]
    assert services["caddy"]["profiles"] == ["tls"]
    assert IPv4Address(address) in IPv4Network(config["subnet"])
    assert IPv4Address(address) not in IPv4Network(config["ip_range"])
    trusted = services["web"]["environment"]["FILLCAST_TRUSTED_PROXIES"]
    assert trusted == f"${{FILLCAST_TRUSTED_PROXIES:-{config['gateway']},{address}}}"


def test_only_pages_are_published_and_on_loopback_without_tls(
    services: dict[str, dict[str, Any]],
) -> None:
    published = {name: s["ports"] for name, s in services.items() if "ports" in s}
    assert published.keys() == {"web", "caddy"}
    assert all(port.startswith("127.0.0.1:") for port in published["web"])


def test_image_has_the_time_of_its_commit_and_bytecode_by_content() -> None:
    """So that two builds of one commit have the same files."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    steps = re.findall(r"compileall.*", dockerfile)
    assert len(steps) == 2
    assert steps[0].startswith("compileall -qf ")  # that of pip itself was made by time
    assert all("--invalidation-mode unchecked-hash" in step for step in steps)
    assert "pip install --no-cache-dir --no-compile" in dockerfile
    assert dockerfile.count("ARG SOURCE_DATE_EPOCH") == 2  # of each stage
    assert dockerfile.count("FROM $BASE") == 2  # which the operator may pin by its digest
    arguments = yaml.safe_load(TEXT)["x-fillcast"]["build"]["args"]
    assert arguments["SOURCE_DATE_EPOCH"] is None  # taken from the environment
    environment = compose.environment({"SOURCE_DATE_EPOCH": "7"}, {})
    assert environment["SOURCE_DATE_EPOCH"] == compose.commit_time()
    assert int(compose.commit_time()) > 1_700_000_000

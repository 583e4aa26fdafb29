"""The example's package as pip installs it: its folder and its entry points on the path."""

import importlib
import ipaddress
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nacl.public import PrivateKey

from brokers import registry
from common.sealing import public_key_of
from connections import eligibility
from execution.recovery import order_polling
from tests.execution.conftest import captured_enqueues, empty_deferred_queue, feed  # noqa: F401 (fixtures)
from tests.operational import set_setting

if TYPE_CHECKING:  # of the package: it is there where `installed` is
    from tiny_broker.conformance.venue import Venue

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tiny-broker"
CACHES = (eligibility.needs_credentials, order_polling.polled_broker_types)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What pyproject.toml declares, installed into a folder that is on the path."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "tiny_broker", tmp_path / "tiny_broker")
    info = tmp_path / "tiny_broker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = [
        f"[{group}]\n" + "\n".join(f"{name} = {path}" for name, path in named.items())
        for group, named in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _forget()
    yield tmp_path
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tiny_broker"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    registry.clear_cache()
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture
def venue(installed: Path) -> Iterator["Venue"]:
    with importlib.import_module("tiny_broker.conformance.venue").serving() as venue:
        yield venue


@pytest.fixture
def keys(settings: Any) -> None:
    """This process can seal and open credentials, and may call this machine."""
    private = bytes(PrivateKey.generate())
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    set_setting("networks.broker_networks", (ipaddress.ip_network("127.0.0.0/8"),))

"""docs/first-hour.md: its shell lines work as they stand, against a web process of this version."""

import base64
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from nacl.public import PrivateKey

from brokers.paper.models import PaperAccount
from connections.models import DataConnection, ExecutionConnection
from events.models import Channel
from tests.connections import make
from tests.web_process import WebProcess
from users.models import User
from users.services import create_api_key

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
PAGE = (Path(__file__).parents[2] / "docs" / "first-hour.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebProcess]:
    sealing = base64.b64encode(bytes(PrivateKey.generate().public_key)).decode()
    log = tmp_path / "web.log"
    with WebProcess(log, FILLCAST_CREDENTIALS_PUBLIC_KEY=sealing) as process:
        yield process


@pytest.fixture
def key() -> str:
    """The first rows of an installation, as the steps before the shell lines make them."""
    tenant = User.objects.create_user("tenant")
    make.feed(tenant, slug="majors", is_public=True)
    DataConnection.objects.create(id=1, name="Constant quotes")
    make.preset(None, id=1, name="Fixed")
    with connection.cursor() as cursor:
        cursor.execute("ALTER SEQUENCE events_channel_id_seq RESTART")
    PaperAccount.objects.create(number="1001")
    return create_api_key(tenant, "first hour", scopes=["read", "operate"])[1]


def script(web: WebProcess, key: str) -> str:
    """The page's lines; only the two that name the installation and the key are other ones."""
    text = "\n".join(BLOCKS)
    for name, value in (("API", f"http://127.0.0.1:{web.port}/api/v1"), ("KEY", key)):
        text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1, f"the page states {count} times what {name} is"
    # As the page has it, but for an exit code where the answer is an error.
    return (
        'set -euo pipefail\ncurl() { command curl --fail-with-body --max-time 60 "$@"; }\n' + text
    )


def test_shell_lines_of_the_page_work_as_they_stand(web: WebProcess, key: str) -> None:
    lines = script(web, key)
    assert lines.count("curl -s ") == 4
    done = subprocess.run(
        ["bash", "-c", lines], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    account = ExecutionConnection.objects.get(name="Paper USD")
    assert account.health.test_requested_at is not None
    assert Channel.objects.get().name == "phone"

"""The embedded Redis, with real processes."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ops.embedded.errors import EmbeddedError
from ops.embedded.processes import birth
from ops.embedded.redis import RedisServer
from tests.until import until

pytestmark = pytest.mark.processes


@pytest.fixture
def server(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder / "redis")
    yield server
    server.stop()


def ping(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        return bool(client.ping())


def test_redis_requires_its_password(server: RedisServer) -> None:
    server.start()
    assert ping(server.url)
    with pytest.raises(redis.AuthenticationError):
        ping(server.url.replace("redis://:", "redis://:x", 1))


def test_redis_password_is_not_in_the_process_list(server: RedisServer) -> None:
    server.start()
    assert server.process is not None
    command = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert "redis" in command
    assert server._password not in command


def test_killed_redis_restarts_on_the_same_url(server: RedisServer) -> None:
    first = server.start().url
    assert server.process is not None
    server.process.kill()
    until(lambda: not server.alive)
    assert server.start().url == first
    assert ping(first)


def test_url_is_the_same_after_restart(folder: Path) -> None:
    with RedisServer(folder / "redis") as first:
        url = first.url
    with RedisServer(folder / "redis") as second:
        assert second.url == url
        assert ping(url)
    assert (folder / "redis" / "password").stat().st_mode & 0o077 == 0


def test_surviving_redis_is_ended(server: RedisServer) -> None:
    server.start()
    assert server.process is not None
    survivor = server.process.pid
    with RedisServer(server.folder) as successor:
        assert birth(survivor) is None
        assert ping(successor.url)


def test_foreign_process_with_the_old_redis_pid_is_not_killed(server: RedisServer) -> None:
    server.folder.mkdir()
    (server.folder / "pid").write_text(f"{os.getpid()} of another time\n")
    assert ping(server.start().url)  # and this process still runs


def test_requested_port_that_is_taken_is_an_error(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedError, match=f"Port {port} is in use"):
            RedisServer(folder / "redis", port=port).start()


def test_missing_redis_server_is_an_error(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("ops.embedded.paths.package_folder", lambda _name: None)
    monkeypatch.setattr("ops.embedded.os_user.ServerUser.may", lambda *_: True)
    with pytest.raises(EmbeddedError, match=r"No redis-server found.*set REDIS_URL"):
        server.start()

"""Workers on other machines reach PostgreSQL and Redis over TLS, with a certificate of theirs."""

import os
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
import redis
import yaml

from config.databases import database
from config.env import Settings
from deploy.install import compose, secret_names
from deploy.install.container_secrets import contents
from ops.embedded.os_user import server_user
from tests.ports import free_port
from tests.server_folders import server_folder
from tests.until import until

ROOT = Path(__file__).parents[2]
OVERRIDE = yaml.safe_load((ROOT / "deploy/outside.yml").read_text())["services"]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
PASSWORD = "secret"
NEEDED = dict.fromkeys(secret_names.NEEDED, "x")
REDIS_CONF = "/run/secrets/fillcast/redis.conf"
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")


def make(
    folder: Path, host: str = "localhost", worker: str = "alpha"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "deploy/outside-certificates", host, worker], capture_output=True, text=True,
        check=False, env={**os.environ, "FILLCAST_OUTSIDE": str(folder)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A folder that the servers' user may read, as in the containers."""
    with server_folder("fillcast-outside-") as folder:
        folder.chmod(0o755)
        made = folder / "outside"
        assert make(made).returncode == 0
        made.chmod(0o755)
        yield made


def of_worker(folder: Path, names: tuple[str, str, str], mode: str) -> str:
    """Return the end of a URL: TLS with the worker's certificate, by a client's names."""
    files = (folder / "ca.pem", folder / "alpha.pem", folder / "alpha.key")
    return mode + "&" + urlencode(dict(zip(names, map(str, files), strict=True)))


# ---- the certificates ---------------------------------------------------------------------


def test_certificates_are_kept_and_only_missing_ones_made(tmp_path: Path) -> None:
    assert make(tmp_path / "out").returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    done = make(tmp_path / "out", worker="beta")
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert done.returncode == 0
    assert after.keys() - before.keys() == {"beta.pem", "beta.key"}
    assert {n: after[n] for n in before if n != "ca.srl"} == {
        n: text for n, text in before.items() if n != "ca.srl"
    }
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "out/ca.key").stat().st_mode & 0o777 == 0o600


def test_certificates_are_valid_for_strict_clients(certificates: Path) -> None:
    """Python 3.13 verifies by all rules of RFC 5280."""
    for name in ("server", "alpha"):
        line = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem", f"{name}.pem"]
        done = subprocess.run(line, cwd=certificates, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_another_name_or_an_invalid_one_is_refused(certificates: Path, tmp_path: Path) -> None:
    done = make(certificates, host="other.example.com")
    assert done.returncode == 1
    assert "another name" in done.stderr
    for host, worker in (("a b", "x"), ("", "x"), ("localhost", "server"), ("localhost", "../x")):
        assert make(tmp_path / "none", host, worker).returncode == 2
    assert not (tmp_path / "none").exists()


def test_certificate_that_ends_soon_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    line = "openssl x509 -req -in c -CA ca.pem -CAkey ca.key -days 3 -out alpha.pem"
    csr = "openssl req -new -key alpha.key -subj /CN=alpha -out c"
    for command in (csr, line):
        subprocess.run(shlex.split(command), cwd=tmp_path, capture_output=True, check=True)
    assert "alpha.pem ends within 30 days" in make(tmp_path).stderr


# ---- PostgreSQL ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres(certificates: Path) -> Iterator[int]:
    """Debian's PostgreSQL with the options and the pg_hba.conf of the override; yields its port."""
    if POSTGRES is None:
        pytest.skip("no PostgreSQL with TLS is installed")
    identity = server_user()
    folder, port = certificates.parent / "pg", free_port()
    key, hba = certificates.parent / "server.key", certificates.parent / "pg_hba.conf"
    shutil.copy(certificates / "server.key", key)
    # A client of this machine stands for one of another: nothing but its address is different.
    rules = (ROOT / "deploy/outside_hba.conf").read_text()
    hba.write_text(rules.replace("127.0.0.1/32", "10.9.9.9/32    "))
    folder.mkdir()
    for path in (folder, key):
        os.chown(path, identity.uid, identity.gid)
    key.chmod(0o600)
    (hba.parent / "pw").write_text(PASSWORD)
    run: dict[str, Any] = {"user": identity.uid, "group": identity.gid} if identity.dropped else {}
    subprocess.run(
        [POSTGRES / "initdb", "-D", folder, "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True, capture_output=True, cwd="/", **run,
    )  # fmt: skip
    text = OVERRIDE["postgres"]["entrypoint"][2]
    options = shlex.split(text[text.index("-c ssl=on") :])
    places = {
        "/outside/server.pem": certificates / "server.pem",
        "/run/postgresql/server.key": key,
        "/outside/ca.pem": certificates / "ca.pem",
        "/outside/pg_hba.conf": hba,
    }
    for inside, here in places.items():
        assert any(inside in option for option in options)
        options = [option.replace(inside, str(here)) for option in options]
    server = subprocess.Popen(
        [POSTGRES / "postgres", "-D", folder, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
         "-c", f"unix_socket_directories={folder}", "-c", "fsync=off", *options],
        stdout=subprocess.DEVNULL, stderr=(certificates.parent / "log").open("wb"), cwd="/", **run,
    )  # fmt: skip
    try:
        log = (certificates.parent / "log").read_text
        until(lambda: server.poll() is not None or "ready to accept" in log())
        with psycopg.connect(f"host={folder} port={port} user=postgres", autocommit=True) as admin:
            for role in ("trade", "web"):
                admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'".encode())
            admin.execute("CREATE DATABASE fillcast")
        yield port
    finally:
        server.terminate()
        server.wait(60)


def connect(port: int, end: str, login: str = "trade", name: str = "fillcast") -> bool:
    """Connect as a worker's settings have it: DATABASE_URL through our own parser."""
    url = f"postgresql://{login}:{PASSWORD}@localhost:{port}/{name}?{end}"
    environ = {"DATABASE_URL": url, "FILLCAST_DB_ROLE": "owner"}
    entry = database(Settings.read(environ))
    options = {**entry["OPTIONS"]}
    with psycopg.connect(
        host=entry["HOST"], port=entry["PORT"], dbname=entry["NAME"], user=entry["USER"],
        password=entry["PASSWORD"], hostaddr="127.0.0.1", **options,
    ) as connection:  # fmt: skip
        row = connection.execute(
            "SELECT ssl, client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
        return row is not None and bool(row[0]) and row[1] is not None


PG_FILES = ("sslrootcert", "sslcert", "sslkey")


def test_worker_outside_reaches_postgres_with_its_certificate(
    postgres: int, certificates: Path
) -> None:
    assert connect(postgres, of_worker(certificates, PG_FILES, "sslmode=verify-full"))


def test_postgres_refuses_everyone_else(postgres: int, certificates: Path, tmp_path: Path) -> None:
    """Without TLS, without a certificate, with that of another authority, as another login."""
    good = of_worker(certificates, PG_FILES, "sslmode=verify-full")
    ca = f"{certificates}/ca.pem"
    assert quote(ca, "") in good
    make(tmp_path / "foreign")
    foreign = good.replace("alpha", "foreign")
    for end in ("pem", "key"):
        shutil.copy(tmp_path / f"foreign/alpha.{end}", certificates / f"foreign.{end}")
    for refused in ("sslmode=disable", f"sslmode=verify-full&sslrootcert={ca}", foreign):
        with pytest.raises(psycopg.OperationalError):
            connect(postgres, refused)
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        connect(postgres, good, login="web")
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        connect(postgres, good, name="postgres")
    with pytest.raises(psycopg.OperationalError):  # the server is not the one that was meant
        connect(postgres, good.replace(quote(ca, ""), quote(f"{tmp_path}/foreign/ca.pem", "")))


# ---- Redis --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_redis(certificates: Path) -> Iterator[int]:
    """A Redis with the options of the override; yields its port for TLS."""
    program = shutil.which("redis-server")
    port = free_port()
    conf = certificates.parent / "redis.conf"
    conf.write_text(contents({**NEEDED, "REDIS_PASSWORD": PASSWORD})["redis"]["redis.conf"])
    given = [
        option.replace("/outside", str(certificates)).replace(REDIS_CONF, str(conf))
        for option in OVERRIDE["redis"]["command"][1:]
    ]
    given[given.index("6380")] = str(port)
    if program is None:
        pytest.skip("no redis-server with TLS is installed")
    with (certificates.parent / "redis.log").open("wb") as log:
        server = subprocess.Popen([program, *given, "--port", "0"], stdout=log, stderr=log, cwd="/")
    try:
        log_text = (certificates.parent / "redis.log").read_text
        until(lambda: server.poll() is not None or "Ready to accept" in log_text())
        if server.poll() is not None:
            pytest.skip(f"redis-server without TLS: {log_text()[-200:]}")
        yield port
    finally:
        server.terminate()
        server.wait(60)


REDIS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def test_worker_outside_reaches_redis_with_its_certificate(
    tls_redis: int, certificates: Path
) -> None:
    """Both clients: redis-py of the cache and the limits, Celery's of the queues."""
    from celery import Celery

    end = of_worker(certificates, REDIS_FILES, "ssl_cert_reqs=required")
    url = f"rediss://:{PASSWORD}@localhost:{tls_redis}/0?{end}"
    assert redis.Redis.from_url(url).ping() is True
    with Celery(broker=url).connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
        assert connection.connected


def test_redis_refuses_a_client_without_a_certificate(tls_redis: int, certificates: Path) -> None:
    url = f"rediss://:{PASSWORD}@localhost:{tls_redis}/0?ssl_ca_certs={certificates}/ca.pem"
    with pytest.raises((redis.ConnectionError, ssl.SSLError)):
        redis.Redis.from_url(url).ping()
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(f"redis://:{PASSWORD}@localhost:{tls_redis}/0").ping()


# ---- compose ------------------------------------------------------------------------------


def test_override_keeps_what_the_services_have() -> None:
    ours, theirs = OVERRIDE["redis"]["command"], SERVICES["redis"]["command"]
    assert ours[: len(theirs)] == theirs
    assert "command" not in OVERRIDE["postgres"]  # its entrypoint appends to it
    assert '"$$@"' in OVERRIDE["postgres"]["entrypoint"][2]
    assert {port for s in OVERRIDE.values() for port in s["ports"]} == {"5432:5432", "6380:6380"}
    mounted = {v.split(":")[0] for s in OVERRIDE.values() for v in s["volumes"]}
    for path in mounted - {f"./outside/{name}" for name in compose.CERTIFICATES}:
        assert (ROOT / path).exists()
    network = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["networks"]["default"]
    hba = (ROOT / "deploy/outside_hba.conf").read_text()
    for address in ("10.213.78.0/24", "10.213.78.1"):
        assert address in str(network)
        assert address in hba


def test_compose_adds_the_override_with_the_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "ROOT", tmp_path)
    assert str(compose.OUTSIDE) not in compose.files({"COMPOSE_PROFILES": "tls"})
    with pytest.raises(SystemExit, match=r"lacks ca\.pem, server\.pem, server\.key: deploy/outs"):
        compose.files({"COMPOSE_PROFILES": "tls,outside"})
    make(tmp_path / "outside")
    assert compose.files({"COMPOSE_PROFILES": "tls,outside"})[-1] == str(compose.OUTSIDE)

"""ClickHouse over HTTP: statements, inserts of rows, and what its errors mean.

HTTP is the interface that every version has, and httpx is there anyway; docs/adr says why not
clickhouse-connect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
import orjson

from buses.sinks import SinkMisconfigured, SinkUnavailable

SQL = Path(__file__).parent / "sql"
SECONDS = 10.0
DEFAULT_DATABASE = "fillcast"
OPTIONS = ("ca", "tls")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
# What ClickHouse cannot read of a row, whenever it is sent: its error codes.
CONTENT = frozenset({6, 25, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 117, 321, 349, 376, 407})
UNKNOWN_TABLE, UNKNOWN_DATABASE = 60, 81
_CODE = re.compile(r"Code: (\d+)")
_SETTINGS = {
    "wait_end_of_query": "1",  # else an error may follow after status 200
    "date_time_input_format": "best_effort",
}


class ClickHouseError(Exception):
    """ClickHouse refused a statement. code: its number, 0 if there is none."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def is_content(self) -> bool:
        """Whether the rows themselves are at fault."""
        return self.code in CONTENT


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, how to sign in, and which database is ours."""

    base: str
    database: str
    user: str
    password: str
    ca: str | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read `clickhouse://user:password@host:8123/database?tls=yes&ca=/a/file`.

        The port is that of HTTP. Raises SinkMisconfigured.
        """
        parts, options = urlsplit(url), dict(parse_qsl(urlsplit(url).query))
        if not parts.hostname:
            raise SinkMisconfigured("The URL clickhouse:// names no host: clickhouse://host:8123")
        if unknown := sorted(options.keys() - set(OPTIONS)):
            known = ", ".join(OPTIONS)
            raise SinkMisconfigured(f"clickhouse:// knows {known}; not {', '.join(unknown)}.")
        database = parts.path.strip("/") or DEFAULT_DATABASE
        if not _NAME.fullmatch(database):
            detail = f"clickhouse://: the database {database!r} may have letters, digits and _ only"
            raise SinkMisconfigured(detail)
        is_encrypted = options.get("tls", "no") == "yes"
        port = parts.port or (8443 if is_encrypted else 8123)
        return cls(
            base=f"{'https' if is_encrypted else 'http'}://{parts.hostname}:{port}",
            database=database,
            user=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            ca=options.get("ca"),
        )

    @property
    def name(self) -> str:
        """Host, port and database, without secrets."""
        return f"clickhouse://{self.base.partition('://')[2]}/{self.database}"


class ClickHouse:
    """One server. Used by one thread at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        try:
            self._http = httpx.Client(
                base_url=address.base, timeout=SECONDS, verify=_trusted(address), trust_env=False
            )
        except OSError as error:
            raise SinkMisconfigured(f"{address.name}: {address.ca}: {error.strerror}") from error

    def run(self, statement: str, *, in_database: bool = True) -> str:
        """Run one statement and return its answer. Raises SinkUnavailable, ClickHouseError."""
        return self._post({}, statement.encode(), in_database=in_database)

    def make_tables(self, made_by: Sequence[str]) -> None:
        """Make the database, and tables by these statements, if they are not there.

        Raises SinkUnavailable, also if another program answers; ClickHouseError.
        """
        if self.run("SELECT 1", in_database=False).strip() != "1":
            raise SinkUnavailable(f"{self._address.base} is no ClickHouse")
        database = f"CREATE DATABASE IF NOT EXISTS {self._address.database}"
        self.run(database, in_database=False)
        for statement in made_by:
            self.run(statement)

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows by their columns' names. Raises SinkUnavailable, ClickHouseError."""
        query = f"INSERT INTO {table} FORMAT JSONEachRow"
        answer = self._post({"query": query}, b"\n".join(orjson.dumps(row) for row in rows))
        if answer.strip():
            raise SinkUnavailable(f"{self._address.base} answered an insert: {answer[:100]!r}")

    def query(self, statement: str, **parameters: str) -> list[dict[str, Any]]:
        """Return the rows of a SELECT with parameters such as {day:Date}; numbers of 64 bits and
        decimals as text. Raises SinkUnavailable, ClickHouseError."""
        given = {f"param_{name}": _escaped(value) for name, value in parameters.items()}
        quoted = {
            "output_format_json_quote_decimals": "1",
            "output_format_json_quote_64bit_integers": "1",
        }
        answer = self._post(given | quoted, f"{statement.rstrip()}\nFORMAT JSON".encode())
        found: list[dict[str, Any]] = orjson.loads(answer)["data"]
        return found

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._http.close()

    def _post(self, given: Mapping[str, str], body: bytes, *, in_database: bool = True) -> str:
        address = self._address
        database = {"database": address.database} if in_database else {}
        headers = {"X-ClickHouse-User": address.user}
        if address.password:
            headers["X-ClickHouse-Key"] = address.password
        try:
            answer = self._http.post(
                "/", params={**_SETTINGS, **database, **given}, content=body, headers=headers
            )
        except httpx.HTTPError as error:
            raise SinkUnavailable(
                f"{address.base}: {str(error) or type(error).__name__}"
            ) from error
        if answer.status_code == httpx.codes.OK:
            return answer.text
        found = _CODE.search(answer.text) or _CODE.search(
            f"Code: {answer.headers.get('X-ClickHouse-Exception-Code', '')}"
        )
        if found is None:  # a proxy, or another program
            detail = f"{address.base} answered {answer.status_code} and is no ClickHouse"
            raise SinkUnavailable(detail)
        raise ClickHouseError(int(found[1]), answer.text.strip()[:500])


def _escaped(value: str) -> str:
    """Return a parameter as ClickHouse reads it: with the escapes of its tab-separated format."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


@cache
def statements(name: str) -> tuple[str, ...]:
    """Return the statements of a file in sql."""
    lines = (SQL / f"{name}.sql").read_text().splitlines()
    text = "\n".join(line.partition("--")[0].rstrip() for line in lines)
    return tuple(filter(None, (part.strip() for part in text.split(";"))))


def _trusted(address: Address) -> Any:
    if address.ca is None:
        return True
    import ssl

    return ssl.create_default_context(cafile=address.ca)

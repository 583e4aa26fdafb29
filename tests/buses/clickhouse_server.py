"""A program: today's ClickHouse (chdb, the engine as a library) behind its HTTP interface.

    python -m tests.buses.clickhouse_server PORT FOLDER

It keeps its data in the folder. What it does not have: users, and parts of requests that we do not
send. Debian's clickhouse-server has those, and is too old for our types.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import session

engine = session.Session(sys.argv[2])
one_at_a_time = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Runs one statement for each request, with the settings that the request names."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        given.pop("wait_end_of_query", None)
        query, database = given.pop("query", ""), given.pop("database", "default")
        with one_at_a_time:
            status, text = self._answer(query, body.decode(), database, given)
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(
        self, query: str, body: str, database: str, given: dict[str, str]
    ) -> tuple[int, str]:
        try:
            engine.query(f"USE {database}")
            for name, value in given.items():
                engine.query(f"SET {name} = '{value}'")
            return 200, str(engine.query(f"{query}\n{body}".strip()))
        except Exception as error:  # any: as the engine states it
            return 500, str(error)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()

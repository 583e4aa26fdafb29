"""What a stranger's connection may cost the web process: bytes in memory and on disk, and time."""

import contextlib
import os
import select
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.env import Settings
from ops.stack.process import ProcessSpec
from ops.stack.stack import web_process
from tests.until import until
from tests.web_process import WebProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
LIMIT = 1_000_000
PIECE = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
KINDS = {
    "nothing": b"",
    "part of a line": b"GET /login/ HT",
    "part of a header": b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n",
    "part of a body": b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nuser",
    "part of a chunk": b"POST /a/ HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n9\r\n",
    "part of an alert": b"POST /hooks/tradingview/a/b/ HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 9\r\n\r\nBUY",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes put their logs, and one of them its temporary files."""
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def web(folder: Path, django_db_setup: None) -> Iterator[WebProcess]:
    """The process as the stack starts it."""
    (folder / "tmp").mkdir()
    with WebProcess(folder / "log", TMPDIR=str(folder / "tmp")) as process:
        yield process


@pytest.fixture(scope="module")
def quick_web(folder: Path, django_db_setup: None) -> Iterator[WebProcess]:
    """The process with a second for each header and body."""

    def quick(settings: Settings) -> ProcessSpec:
        code = (
            "import config.web_protocol as web; web.RECEIVE_SECONDS = 1.0;"
            "import config.web_server; config.web_server.main()"
        )
        return replace(web_process(settings), command=(sys.executable, "-c", code))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ops.stack.stack.web_process", quick)
        with WebProcess(folder / "quick log") as process:
            yield process


def test_chunked_body_is_refused_while_it_arrives(web: WebProcess, folder: Path) -> None:
    for path in ("/login/", "/admin/login/", "/nowhere/", "/api/v1/signals/", "/push/renew/"):
        with _connected(web) as line:
            line.sendall(_head(path, "Transfer-Encoding: chunked"))
            sent = 0
            # An answer that comes between the look and the piece closes the connection under it.
            with contextlib.suppress(ConnectionError):
                while not _readable(line) and sent < 8 * LIMIT:
                    line.sendall(PIECE)
                    sent += len(PIECE)
                    written = _temporary_files(web, folder)
                    assert not written, f"{path}: {written}"
            assert sent < 8 * LIMIT, f"{path}: no answer after {sent:,} bytes"
            assert _status(line) == 413, path


def test_declared_length_is_refused_before_the_body(web: WebProcess) -> None:
    for path in ("/login/", "/api/v1/signals/", "/hooks/tradingview/a/b/"):
        with _connected(web) as line:
            line.sendall(_head(path, f"Content-Length: {LIMIT + 1}"))
            assert _status(line) == 413, path


def test_body_of_the_largest_size_reaches_its_page(web: WebProcess) -> None:
    with _connected(web) as line:
        line.sendall(_head("/nowhere/", f"Content-Length: {LIMIT}") + b"x" * LIMIT)
        assert _status(line) in (403, 404)


def test_header_without_end_is_refused(web: WebProcess) -> None:
    with _connected(web) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(80):  # 8 MB: more than all buffers between the two processes
                line.sendall(b"x" * 100_000)
        assert _status(line) == 431


def test_file_in_a_form_is_refused(web: WebProcess) -> None:
    browser = web.browser()
    browser.get("/login/")
    token = browser.cookies["csrftoken"]
    text = f'--b\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
    file = '--b\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\nme\r\n'
    for parts, status in ((text, 200), (text + file, 400)):
        body = f"{parts}--b--\r\n"
        kind = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}"
        with _connected(web) as line:
            line.sendall(_head("/login/", f"Cookie: csrftoken={token}\r\n{kind}") + body.encode())
            assert _status(line) == status


def test_half_sent_requests_end_while_others_are_answered(quick_web: WebProcess) -> None:
    lines = {(kind, n): _connected(quick_web) for kind in KINDS for n in range(50)}
    for (kind, _), line in lines.items():
        line.sendall(KINDS[kind])
    assert quick_web.browser().get("/healthz").status == 200
    ended: dict[tuple[str, int], bytes] = {}

    def all_ended() -> bool:
        for name, line in lines.items():
            if name not in ended and _readable(line):
                ended[name] = line.recv(4096)
        return len(ended) == len(lines)

    until(all_ended)
    still_open = {kind for kind, _ in lines.keys() - ended.keys()}
    assert not still_open, f"{len(lines) - len(ended)} of {len(lines)} stay open: {still_open}"
    for (kind, _), answer in ended.items():
        assert answer[9:12] == (b"" if kind == "nothing" else b"408"), (kind, answer)
    assert quick_web.browser().get("/healthz").status == 200


def test_empty_line_does_not_keep_an_answered_connection(quick_web: WebProcess) -> None:
    with _connected(quick_web) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert _status(line) == 200
        line.sendall(b"\r\n")
        assert line.recv(100) == b"", "the connection is not closed"


def _connected(web: WebProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), 60)


def _head(path: str, header: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode()


def _readable(line: socket.socket) -> bool:
    return bool(select.select([line], [], [], 0)[0])


def _status(line: socket.socket) -> int:
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = line.recv(4096)
        assert part, f"no answer: {answer!r}"
        answer += part
    return int(answer[9:12])


def _temporary_files(web: WebProcess, folder: Path) -> list[str]:
    """Return the files that the process has open in its folder, also those without a name."""
    found = []
    for number in Path(f"/proc/{web.pid}/fd").iterdir():
        try:
            name = os.readlink(number)
        except OSError:
            continue
        if name.startswith(str(folder / "tmp")):
            found.append(f"{name} {number.stat().st_size:,} bytes")
    return found

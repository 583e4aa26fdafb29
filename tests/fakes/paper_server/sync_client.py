"""The client for callers without an event loop: operations of the exchange, and faults."""

import os
import socket
import threading
from typing import Any

from brokers.base import ReadFailed
from common.reason_codes import Code
from tests.fakes.paper_server.framing import BadFrameError, Unpacker, pack, unpack
from tests.fakes.paper_server.protocol import CALLS, VERSION, encode_arguments, read_error

CONNECT_SECONDS = 2.0
SILENT_SECONDS = 5.0  # the server sends something each second, however long a call takes


class SyncClient:
    """A connection of its own, used by one thread at a time, opened again when it is lost."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._unpacker = Unpacker()
        self._pid = os.getpid()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call and wait for the answer. Every call here may be repeated.

        Raises ReadFailed when the server cannot be reached or the connection is lost; the call may
        have run all the same. Raises the error that the server answers otherwise.
        """
        answer = self._fetch({"do": name, "args": encode_arguments(name, arguments)})
        return CALLS[name].result_type.validate_python(answer["result"])

    def fault(self, name: str, *numbers: float) -> None:
        """Cause a fault of a server that was started with --faults (see `faults.py`)."""
        self._fetch({"do": "fault", "args": [name, *numbers]})

    def close(self) -> None:
        """Close the connection; the next call opens one again."""
        with self._lock:
            self._drop()

    def _fetch(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            try:
                answer = self._send(message)
            except (OSError, BadFrameError, ValueError, KeyError, TypeError) as error:
                self._drop()
                raise ReadFailed(Code.BROKER_UNREACHABLE, type(error).__name__) from error
        if "error" in answer:
            raise read_error(answer)
        return answer

    def _send(self, message: dict[str, Any]) -> dict[str, Any]:
        line = self._line()
        line.sendall(pack({"id": 1, **message}))
        while True:
            for message in self._receive(line):
                if "id" in message:
                    return message

    def _line(self) -> socket.socket:
        if self._pid != os.getpid():  # the parent's socket is neither used nor closed
            self._socket, self._pid = None, os.getpid()
        if self._socket is not None and self._was_left(self._socket):
            self._drop()
        if self._socket is None:
            self._socket = socket.create_connection(self._address, CONNECT_SECONDS)
            self._socket.settimeout(SILENT_SECONDS)
            self._unpacker = Unpacker()
            greeting = self._receive(self._socket)
            if not greeting or greeting[0].get("paper") != VERSION:
                raise ConnectionRefusedError("another version, or no paper broker")
        return self._socket

    def _was_left(self, line: socket.socket) -> bool:
        """Whether the server closed the connection since the last call: it was restarted.

        Also reads the heartbeats that have arrived since.
        """
        line.setblocking(False)
        try:
            while True:
                self._receive(line)
        except BlockingIOError:
            return False
        except (OSError, BadFrameError, ValueError):
            return True
        finally:
            line.settimeout(SILENT_SECONDS)

    def _receive(self, line: socket.socket) -> list[dict[str, Any]]:
        data = line.recv(65_536)
        if not data:
            raise ConnectionResetError("the line was closed")
        return [unpack(body) for body in self._unpacker.feed(data)]

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

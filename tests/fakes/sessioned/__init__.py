"""The broker type `sessioned` of a third party: the remote paper broker with sessions.

`tests/fakes/plugin` registers it by an entry point. Each call is recorded in the file named by
SESSIONED_JOURNAL, with its time and process, when it is sent.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from brokers.account_capabilities import Capabilities
from brokers.base import Guard, NotSent, OnOutcome
from brokers.types import ConnectionSpec, OrderRequest
from tests.fakes.paper_server.adapter import RemotePaper
from tests.fakes.paper_server.endpoint import server_address


def create() -> "Sessioned":
    """Make the adapter, for the registry."""
    return Sessioned(*server_address())


class Sessioned(RemotePaper):
    """Each account works only in the process that has its session."""

    broker_type = "sessioned"

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        lane = str(spec.settings.get("lane") or "")
        return replace(super().capabilities(spec), session=True, lane=lane)

    async def submit_many(
        self,
        requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
        guard: Guard,
        on_outcome: OnOutcome,
    ) -> None:
        """Record each order between the guard and the write."""

        def recording_guard(request: OrderRequest) -> None:
            guard(request)
            record("submit", request.connection_id)

        await super().submit_many(requests, recording_guard, on_outcome)

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Disconnect all accounts. The end of one account's session is only recorded."""
        record("disconnect", spec.connection_id if spec else "")
        if spec is None:
            await super().disconnect()

    async def _read(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        if arguments and isinstance(arguments[0], ConnectionSpec):  # not the events of all accounts
            record(name, arguments[0].connection_id)
        return await super()._read(name, *arguments, **keywords)

    async def _change(self, name: str, spec: ConnectionSpec, request: Any) -> Any:
        try:
            return await super()._change(name, spec, request)
        except NotSent:
            name = "not sent"  # proven: no byte was sent
            raise
        finally:
            record(name.replace(" ", "-"), spec.connection_id)


def record(call: str, connection_id: str) -> None:
    """Append a line, in one write: several processes write to the file."""
    line = f"{time.time():.6f} {os.getpid()} {call} {connection_id or '-'}\n"
    file = os.open(os.environ["SESSIONED_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)

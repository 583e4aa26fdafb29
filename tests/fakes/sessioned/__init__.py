"""A third party's broker with sessions: the paper broker over its wire, as kind `sessioned`.

Its package is `tests/fakes/plugin`, found by its entry point. Each call is noted in the file that
SESSIONED_JOURNAL names, with the process that made it, at the moment at which it leaves.
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
    """What every account of it can do, but only from the process that has its session."""

    broker_type = "sessioned"

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        lane = str(spec.settings.get("lane") or "")
        return replace(super().capabilities(spec), session=True, lane=lane)

    async def submit_many(
        self, requests: Sequence[tuple[ConnectionSpec, OrderRequest]], guard: Guard, tell: OnOutcome
    ) -> None:
        """The same, noted between the guard and the write."""

        def noted(request: OrderRequest) -> None:
            guard(request)
            note("submit", request.connection_id)

        await super().submit_many(requests, noted, tell)

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """One account's session is nothing here; it is noted."""
        note("disconnect", spec.connection_id if spec else "")
        if spec is None:
            await super().disconnect()

    async def _read(self, name: str, *arguments: Any, **how: Any) -> Any:
        if arguments and isinstance(arguments[0], ConnectionSpec):  # not the news of all of them
            note(name, arguments[0].connection_id)
        return await super()._read(name, *arguments, **how)

    async def _change(self, name: str, spec: ConnectionSpec, request: Any) -> Any:
        try:
            return await super()._change(name, spec, request)
        except NotSent:
            name = "kept back"  # proven: nothing of it left
            raise
        finally:
            note(name.replace(" ", "-"), spec.connection_id)


def note(what: str, connection_id: str) -> None:
    """Write a line, whole, whoever else writes."""
    line = f"{time.time():.6f} {os.getpid()} {what} {connection_id or '-'}\n"
    file = os.open(os.environ["SESSIONED_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)

"""Place one order and wait: `python -m tests.crypto.client_process EXCHANGE BASE ID`."""

import asyncio
import sys
from dataclasses import replace

from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from tests.crypto.factories import unlimited_rates
from tests.crypto.requests import A_SPEC, AN_ORDER, spec_of


async def main(exchange: str, base: str, client_order_id: str) -> None:
    adapter = CryptoAdapter(ClientPool({exchange: base}, unlimited_rates))
    spec = spec_of(exchange)
    await adapter.connect(spec)
    order = replace(AN_ORDER, client_order_id=client_order_id, connection_id=A_SPEC.connection_id)
    await adapter.submit(spec, order, lambda _: print("sending", flush=True))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""A trading process that is about to be killed: `python -m tests.ibkr.client_process PORT ID WHEN`.

WHEN: guard (it dies while the guard looks) or wait (it waits for an answer that does not come).
"""

import asyncio
import sys
import time

from brokers.ibkr.adapter import IbkrAdapter
from brokers.types import OrderRequest
from tests.ibkr.factories import limit, spec_at

SLEEP_SECONDS = 600


async def main(port: int, client_order_id: str, when: str) -> None:
    adapter = IbkrAdapter()
    spec = spec_at(port)
    await adapter.connect(spec)

    def guard(request: OrderRequest) -> None:
        print("guard", flush=True)
        if when == "guard":
            time.sleep(SLEEP_SECONDS)

    await adapter.submit(spec, limit(client_order_id), guard)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))

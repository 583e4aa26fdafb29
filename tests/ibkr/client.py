"""A trading process that is about to be killed: `python -m tests.ibkr.client PORT ID WHEN`.

WHEN: guard (it dies while the guard looks) or wait (it waits for an answer that does not come).
"""

import asyncio
import sys
import time

from brokers.ibkr.calls import IbkrAdapter
from brokers.messages import OrderRequest
from tests.ibkr.cast import limit, spec_at

FOR_EVER = 600


async def main(port: int, client_order_id: str, when: str) -> None:
    adapter = IbkrAdapter()
    spec = spec_at(port)
    await adapter.connect(spec)

    def guard(request: OrderRequest) -> None:
        print("guard", flush=True)
        if when == "guard":
            time.sleep(FOR_EVER)

    await adapter.submit(spec, limit(client_order_id), guard)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))

"""Tenants who read the portal's pages, for `load`: `python -m benchmarks.page_readers PORT COOKIE`.

The first line of its input is JSON: for each tenant the cookie's value and the id of an account.
Each reads a page, thinks for twenty seconds on average, and reads another one. For each further
line it prints the requests that have ended since, as JSON: page, milliseconds, status.
"""

import asyncio
import json
import random
import re
import sys
import time
from typing import Any

import aiohttp

THINK_SECONDS = 20.0
# How often each page is read, of 20. {signal} is the newest one whose link the tenant has seen.
WEIGHTS = {"/": 6, "/accounts/{account}/": 4, "/orders/": 4, "/signals/{signal}/": 3,
           "/signals/": 1, "/results/": 2}  # fmt: skip
SIGNAL_LINK = re.compile(r"/signals/(\d+)/")


async def read_pages(
    client: aiohttp.ClientSession, number: int, cookie: str, account: str, ended: list[Any]
) -> None:
    """Read pages as one tenant, one after the other, until the task is cancelled."""
    chance, known = random.Random(number), {"account": account, "signal": ""}
    headers = {"Cookie": cookie, "Host": "localhost"}
    await asyncio.sleep(chance.uniform(0, THINK_SECONDS))
    while True:
        (page,) = chance.choices([*WEIGHTS], [*WEIGHTS.values()])
        if "{signal}" in page and not known["signal"]:
            page = "/signals/"
        path, began = page.format(**known), time.perf_counter()
        try:
            async with client.get(path, headers=headers, allow_redirects=False) as response:
                text, status = await response.text(), response.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            text, status = "", 0
        ended.append((page, round(1000 * (time.perf_counter() - began), 1), status))
        if found := SIGNAL_LINK.search(text):
            known["signal"] = found[1]
        await asyncio.sleep(chance.uniform(0.5, 1.5) * THINK_SECONDS)


async def main(port: int, name: str) -> None:
    given: list[Any] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    ended: list[Any] = []
    # Each tenant sends its own cookie; none that the server sets is kept.
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=jar) as client:
        tasks = [
            asyncio.ensure_future(read_pages(client, number, f"{name}={cookie}", account, ended))
            for number, (cookie, account) in enumerate(given)
        ]
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(ended), flush=True)
            ended.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))

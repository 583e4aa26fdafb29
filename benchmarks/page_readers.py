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
WEIGHTS = {
    "/": 6, "/accounts/{account}/": 4, "/orders/": 4, "/signals/{signal}/": 3, "/signals/": 1,
    "/results/": 2,
}  # fmt: skip
SIGNAL_LINK = re.compile(r"/signals/(\d+)/")


class Tenant:
    """One tenant who reads pages until the task is cancelled."""

    def __init__(self, number: int, cookie: str, account: str, name: str) -> None:
        self._random = random.Random(number)
        self._headers = {"Cookie": f"{name}={cookie}", "Host": "localhost"}
        self._known = {"account": account, "signal": ""}

    async def read_pages(self, client: aiohttp.ClientSession, ended: list[Any]) -> None:
        """Read one page after the other."""
        await asyncio.sleep(self._random.uniform(0, THINK_SECONDS))
        while True:
            ended.append(await self._read_page(client))
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * THINK_SECONDS)

    async def _read_page(self, client: aiohttp.ClientSession) -> tuple[str, float, int]:
        (page,) = self._random.choices([*WEIGHTS], [*WEIGHTS.values()])
        if "{signal}" in page and not self._known["signal"]:
            page = "/signals/"
        path, began = page.format(**self._known), time.perf_counter()
        try:
            async with client.get(path, headers=self._headers, allow_redirects=False) as response:
                text, status = await response.text(), response.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            text, status = "", 0
        milliseconds = 1000 * (time.perf_counter() - began)
        if found := SIGNAL_LINK.search(text):
            self._known["signal"] = found[1]
        return page, round(milliseconds, 1), status


async def main(port: int, name: str) -> None:
    """Browse until the input ends."""
    given: list[Any] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    ended: list[Any] = []
    # Each tenant sends its own cookie; none that the server sets is kept.
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=jar) as client:
        tasks = [
            asyncio.ensure_future(Tenant(number, cookie, account, name).read_pages(client, ended))
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

"""A function for each fill, as a third party would write it: one POST to a web server."""

import http.client
import json
import os
from functools import cache
from urllib.parse import urlsplit

from buses.catalogue import Fill

ADDRESS = "BENCH_CALLBACK_URL"
SECONDS = 10.0


def post(fill: Fill) -> None:
    """Send a fill; return once the server has answered. Raises OSError and HTTPException."""
    body = json.dumps(
        {"id": fill.broker_fill_id, "account": fill.account_id, "symbol": fill.symbol,
         "quantity": str(fill.quantity), "price": str(fill.price)}
    )  # fmt: skip
    client = _client()
    try:
        client.request("POST", "/", body, {"Content-Type": "application/json"})
        response = client.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        client.close()  # the next call opens it again
        raise
    if response.status != http.HTTPStatus.OK:
        raise http.client.HTTPException(f"The server answered {response.status}.")


@cache
def _client() -> http.client.HTTPConnection:
    """Return the connection, which stays open: one thread calls the function."""
    return http.client.HTTPConnection(urlsplit(os.environ[ADDRESS]).netloc, timeout=SECONDS)

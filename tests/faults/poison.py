"""One order of each two hundred ends the process that is to send it, before it is sent.

A worker that is started with `-I tests.faults.poison` imports it.
"""

import os
import signal
from typing import Any

from execution.dispatch.order_dispatcher import OrderDispatcher

EVERY, POISON = 200, 77
_begin = OrderDispatcher._begin


def _die_of_poison(self: OrderDispatcher, bundle: list[Any]) -> None:
    if any(outgoing.request.order_id % EVERY == POISON for outgoing in bundle):
        os.kill(os.getpid(), signal.SIGKILL)
    _begin(self, bundle)


OrderDispatcher._begin = _die_of_poison  # type: ignore[method-assign]

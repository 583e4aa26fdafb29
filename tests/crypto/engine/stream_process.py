"""A trading process beside a fake exchange: `python -m tests.crypto.engine.stream_process`."""

import threading

from brokers.registry import BUILT_IN

if __name__ == "__main__":
    import django

    BUILT_IN["crypto"] = "tests.crypto.prices_process:adapter"
    django.setup()

    from execution import startup

    startup.start_trading("execution")
    threading.Event().wait()

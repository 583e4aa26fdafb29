"""`python -m tiny_broker.conformance`, in Fillcast's folder: run Tiny to try it by hand."""

import contextlib
import threading

from tiny_broker.conformance.venue import serving

with serving() as venue:
    print(f"Tiny listens on 127.0.0.1:{venue.port}; account A1, password pw. Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()

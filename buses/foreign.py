"""Code that is not ours: what a bus's library, a callback or a package does in any case."""

from __future__ import annotations

from collections.abc import Callable

OUR_FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)
"""What a fault of our own code raises: it is logged, and stops no other sink."""


def error_of(call: Callable[[], object]) -> Exception | None:
    """Call it, and return its error, if there is one."""
    try:
        call()
    except Exception as error:  # any: the code is not ours
        return error
    return None

"""Where a signal falls on a circle, evenly spread over any sequence of signals. Pure."""


def rotation_of(signal_id: int) -> int:
    """Return the place of a signal as a fraction of 2**32. A signal always has the same one.

    Multiples of the golden ratio are spread evenly for any sequence of ids. So over several signals
    each account of a list that begins there is at the front as often as at the back.
    """
    return signal_id * 0x9E3779B9 % 2**32

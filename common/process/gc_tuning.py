"""Settings of Python's garbage collector for processes that create many short-lived objects."""

import gc


def exclude_imports_from_gc(threshold: int) -> None:
    """Exclude all objects that exist now from garbage collection, and collect new ones less often.

    Call it once everything is imported: each collection would walk through all of Django.
    threshold: the number of new objects after which the youngest generation is collected.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(threshold, 20, 20)

"""What is wrong with a change of an order, found by making it and taking it back.

A change is judged under the locks and by the limits of an entry. An entry point needs its faults
also while other values of its sender cannot be read, so that all of them are stated at once.
"""

from collections.abc import Callable

from django.db import transaction

from common.errors import CollectedErrors, FillcastError, InvalidInputError


def trial_errors(change: Callable[[], object]) -> list[InvalidInputError]:
    """Return the faults of the values with which a service would be called; nothing is changed.

    A refusal that no value explains is not among them: it is stated once all can be read.
    """
    faults = CollectedErrors()
    try:
        with transaction.atomic():
            faults.attempt(change)
            transaction.set_rollback(True)
    except FillcastError:
        return []
    return faults.errors

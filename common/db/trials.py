"""What is wrong with a call of a service, found by making it and taking it back.

Some faults are known only under a service's locks and by what it reads. An entry point needs them
also while other values of its sender cannot be read, so that all faults are stated at once.
"""

from collections.abc import Callable

from django.db import transaction

from common.errors import CollectedErrors, FillcastError, InvalidInputError


def trial_errors(call: Callable[[], object]) -> list[InvalidInputError]:
    """Return the faults of the values that a service is called with; nothing is changed.

    A refusal that no value explains is not among them: it is stated once all can be read.
    """
    faults = CollectedErrors()
    try:
        with transaction.atomic():
            faults.attempt(call)
            transaction.set_rollback(True)
    except FillcastError:
        return []
    return faults.errors

"""What is wrong with a migration."""

from typing import NamedTuple


class Fault(NamedTuple):
    """One thing that the released code does not survive, or waits for.

    key: by which a migration may accept it. breaks: the released code fails for certain, so no
    reason accepts it.
    """

    key: str
    sentence: str
    breaks: bool = False


DROP_LATER = (
    "remove it from the models by SeparateDatabaseAndState(state_operations=…), and from the"
    " database by RunSQL after the next release"
)

"""Orders that the engine has written are what these tests read: its fixtures, in place of ours."""

from tests.execution.conftest import *  # noqa: F403
from tests.execution.conftest import _alice, _feed  # noqa: F401

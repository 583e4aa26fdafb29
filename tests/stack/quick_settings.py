"""Our settings with quick sign-in, and logs in which each error is one line."""

from tests.cheaper_hash_settings import *  # noqa: F403
from tests.json_log_settings import LOGGING

__all__ = ["LOGGING"]

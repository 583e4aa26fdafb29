"""Our settings, but logs are JSON as in production."""

from config.logs import first_level, logging_config
from config.settings import *  # noqa: F403
from config.settings import FILLCAST_SETTINGS_SOURCE

LOGGING = logging_config("json", first_level(FILLCAST_SETTINGS_SOURCE))

"""Every test run has servers of its own: they start here, before Django reads its settings.

That is why DJANGO_SETTINGS_MODULE is not in pyproject.toml: pytest-django would read it earlier.
"""

import atexit
import os

import django
import hypothesis

from tests.emptying import empty_quickly
from tests.servers import TestServers

for name in [name for name in os.environ if name.startswith("FILLCAST_")]:
    del os.environ[name]  # a test run is the same whatever the developer's shell has set
os.environ["FILLCAST_ENV_FILE"] = os.devnull
# What brokers publish is about the hour and the weekday: at night and at weekends it would forgive
# what tests are about, and let their entries wait. Tests of windows switch it on.
os.environ["FILLCAST_PUBLISHED_WINDOWS"] = "no"
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
_servers = TestServers()
atexit.register(_servers.stop)
django.setup()
hypothesis.settings.register_profile("fillcast", deadline=None)  # no test fails for a slow machine
hypothesis.settings.load_profile("fillcast")
empty_quickly()


def pytest_unconfigure() -> None:
    """Stop the servers when the run is over."""
    _servers.stop()

"""A web process imports everything before its first request, outside of transactions."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

NEEDED = (
    "apprise",
    "api.hooks",
    "events.api",
    "portal.views.account_forms",
    "config.middleware.request_retry",
)


def test_web_process_imports_views_and_slow_libraries_at_start() -> None:
    code = (
        "import sys, config.asgi;"
        f" print(','.join(name for name in {NEEDED!r} if name not in sys.modules) or 'all')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
    )  # fmt: skip
    assert done.stdout.strip().splitlines()[-1] == "all"

"""A process imports only what it needs: workers no pages, and no library to find what to poll."""

import json
import os
import subprocess
import sys

from config.installation import ROOT

WEB = ("console.admin", "config.urls", "portal.urls", "api.urls", "rest_framework.views")
SHELL = ("prompt_toolkit", "celery.bin.celery")
LIBRARIES = ("ib_async", "numpy")  # of a broker type that needs no polling
NOT_NEEDED = {*WEB, *SHELL, *LIBRARIES, "tests"}

AS_A_WORKER = """
import json, sys
import config.__main__
from config.celery import app
app.loader.import_default_modules()
from execution.recovery.order_polling import polled_broker_types
assert polled_broker_types()
imported = [*sys.modules]
from django.contrib.admin import site
from django.core.checks import Tags, run_checks
before = len(site._registry)
run_checks(tags=[Tags.admin])
print(json.dumps([imported, before, len(site._registry)]))
"""


def test_worker_imports_no_pages_or_libraries_and_system_check_imports_all() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "CELERY_SKIP_CHECKS"}
    done = subprocess.run(
        [sys.executable, "-c", AS_A_WORKER], cwd=ROOT, env=environ,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported, before, after = json.loads(done.stdout)
    assert {"execution.tasks", "celery.bin.worker"} <= {*imported}
    assert NOT_NEEDED & {*imported} == set()
    assert (before, after > 20) == (0, True)

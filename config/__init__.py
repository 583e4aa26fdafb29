"""Settings, URLs, middleware and process entry points. May import any app; no app imports it.

No app is imported here: the stack's supervisor reads the settings, and needs neither Django's
apps nor Celery. Every process with apps gets Celery's application from config/apps.py.
"""

import gc

gc.disable()  # until Django is set up: garbage collection takes a quarter of the import time

from common.process.open_files import raise_limit  # noqa: E402  # it imports no app

raise_limit()  # for each process of ours, and what it starts

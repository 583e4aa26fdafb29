"""The Celery application as the demo's beat sees it (`celery -A config.demo.beat beat`).

Beat writes its schedule into the database when it starts, so the next `make up` has its own again.
"""

from config.celery import app
from config.demo.stage import paced

app.conf.beat_schedule = paced(app.conf.beat_schedule)

"""`python -m config worker …` and `… beat …`: Celery's commands with all their options.

`celery -A config …` does the same, but first imports what its other commands need, such as an
interactive shell. That takes a sixth of a worker's start.
"""

import click
from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from config.celery import app


@click.group(commands={"worker": worker, "beat": beat})
@click.pass_context
def main(context: click.Context) -> None:
    """Start a worker or the scheduler, in this process."""
    context.obj = CLIContext(app=app, no_color=False, workdir=None)


if __name__ == "__main__":
    main(auto_envvar_prefix="CELERY", prog_name="python -m config")

"""The entry points of fill callbacks, read by a process that imports neither Django nor them."""

from importlib.metadata import EntryPoints, entry_points


def callback_points() -> EntryPoints:
    """Return what installed packages name to be called at each fill."""
    return entry_points(group="fillcast.fill_callbacks")

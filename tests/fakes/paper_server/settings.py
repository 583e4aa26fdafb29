"""The product's settings, for processes whose paper broker is the server at PAPER_SERVER."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as PRODUCT_APPS

INSTALLED_APPS = [*PRODUCT_APPS, "tests.fakes.paper_server"]

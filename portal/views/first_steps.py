"""The first steps of a tenant, on a page of their own; hiding them on the overview."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from portal.forms import PaperForm
from portal.pages import current_user, page, run_action, tenants_only
from portal.selectors.accounts import accounts_of
from portal.selectors.feeds import subscriptions_of
from portal.selectors.first_steps import first_steps
from users.models import User
from users.services import hide_first_steps


@tenants_only
def steps(request: HttpRequest) -> HttpResponse:
    """The steps; a POST hides them on the overview, or shows them there again."""
    user = current_user(request)
    if request.method == "POST":
        hidden = "hide" in request.POST
        return run_action(request, lambda: _hide(user, hidden), back=reverse("portal:overview"))
    accounts = accounts_of(user)
    taken = subscriptions_of(user).exclude(demo_only=True).count() if accounts else 0
    found = first_steps(accounts, subscriptions=taken, ran_preflight=user.ran_preflight)
    return page(request, "first_steps.html", steps=found, paper=PaperForm())


def _hide(user: User, hidden: bool) -> str:
    hide_first_steps(user, hidden=hidden)
    if hidden:
        return "Hidden. The link First steps at the top of this page shows them."
    return "The first steps are on the overview until they are done."

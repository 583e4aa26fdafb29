"""Rows that are chosen on a list of the console by values that no row has."""

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from tests.console.role_matrix import LISTS
from tests.matrix import WALK_TIME, Walk
from tests.roles import staff

REFUSED = (200, 302, 403, 404)  # with 200 and 302 a list shows that nothing was done


@WALK_TIME
@pytest.mark.django_db
def test_unusable_key_of_a_chosen_row_is_refused_on_each_list() -> None:
    """A NUL was an error of the server where a list has actions."""
    client = Client()
    client.force_login(staff(Role.ADMINISTRATOR))
    with Walk() as walk:
        for name in walk.each(LISTS):
            path = reverse(f"admin:{name.lower().replace('.', '_')}_changelist")
            with walk.cell(name, "administrator") as cell:
                sent = {"action": "delete_selected", ACTION_CHECKBOX_NAME: "\0"}
                status = client.post(path, sent).status_code
                cell.expect(True, status in REFUSED, str(status))

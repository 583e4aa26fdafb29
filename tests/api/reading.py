"""Reads of the API as a user of the world."""

from typing import Any

from tests.api.factories import World


def get(world: World, path: str, username: str = "alice") -> Any:
    response = world.client(username).get(f"/api/v1/{path}")
    assert response.status_code == 200, response.content
    return response.json()

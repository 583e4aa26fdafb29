"""Parts of other apps' SQL statements: what they test of users and keys."""


def is_active_user_sql(user_id: str) -> str:
    """Return SQL: whether a user may sign in. user_id: an expression."""
    return (
        "EXISTS (SELECT FROM users_user active_user"
        f" WHERE active_user.id = {user_id} AND active_user.is_active)"
    )


def is_revoked_key_sql(key_id: str) -> str:
    """Return SQL: whether an API key is revoked; false for NULL. key_id: an expression."""
    return (
        "EXISTS (SELECT FROM users_apikey revoked_key"
        f" WHERE revoked_key.id = {key_id} AND revoked_key.revoked_at IS NOT NULL)"
    )

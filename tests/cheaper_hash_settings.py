"""The production settings, but TEST_HASH_ITERATIONS decides what hashing a password costs."""

import os

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from config.settings import *  # noqa: F403

PBKDF2PasswordHasher.iterations = int(os.environ["TEST_HASH_ITERATIONS"])

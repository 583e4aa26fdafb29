"""Credentials: encrypted on entry, decrypted only by trading processes, and key rotation."""

"""Version 7.0 of the service."""

from ..key_vault_client import KeyVaultClient  # noqa: F401

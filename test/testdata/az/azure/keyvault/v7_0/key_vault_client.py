"""The client, where the CLI looks for its documentation."""

from ..key_vault_client import KeyVaultClient  # noqa: F401

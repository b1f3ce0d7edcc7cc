"""Stands in for azure-keyvault 1.1, which Debian has not and its azure-cli asks for."""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)

from .key_vault_client import KeyVaultAuthentication, KeyVaultClient  # noqa: E402,F401

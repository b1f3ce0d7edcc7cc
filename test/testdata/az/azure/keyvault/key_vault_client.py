"""KeyVaultClient as azure-keyvault 1.1 has it, on the client in azure-keyvault-secrets.

Microsoft generated both from one description of version 7.0 of the service. What
differs is how arguments of a body are given.
"""

import functools

from azure.core.credentials import AccessToken
from azure.keyvault.secrets._generated import KeyVaultClient as Generated
from azure.keyvault.secrets._generated.v7_0 import models
from azure.keyvault.secrets._shared import ChallengeAuthPolicy


class KeyVaultAuthentication:
    """Asks the CLI for tokens, as the vault's challenge says."""

    def __init__(self, get_token):
        self._get = get_token

    def get_token(self, *scopes, **_):
        _, token, more = self._get(None, scopes[0].removesuffix("/.default"), None)
        return AccessToken(token, int(more.get("expires_on", 0)))


class KeyVaultClient(Generated):
    """The generated client, with the arguments of old."""

    def __init__(self, credentials, api_version=None):
        super().__init__(api_version=api_version, authentication_policy=ChallengeAuthPolicy(credentials))

    def set_secret(self, vault_base_url, secret_name, value, tags=None, content_type=None, secret_attributes=None, **kwargs):
        """Sets a secret in a specified key vault.

        :param secret_attributes: The secret management attributes.
        :type secret_attributes: ~azure.keyvault.v7_0.models.SecretAttributes
        """
        p = models.SecretSetParameters(value=value, tags=tags, content_type=content_type, secret_attributes=secret_attributes)
        return super().set_secret(vault_base_url, secret_name, p, **kwargs)

    def update_secret(self, vault_base_url, secret_name, secret_version, content_type=None, secret_attributes=None, tags=None, **kwargs):
        """Updates the attributes associated with a specified secret in a given key vault."""
        p = models.SecretUpdateParameters(content_type=content_type, secret_attributes=secret_attributes, tags=tags)
        return super().update_secret(vault_base_url, secret_name, secret_version or "", p, **kwargs)

    def restore_secret(self, vault_base_url, secret_bundle_backup, **kwargs):
        """Restores a backed up secret to a vault."""
        return super().restore_secret(vault_base_url, models.SecretRestoreParameters(secret_bundle_backup=secret_bundle_backup), **kwargs)

    def create_certificate(self, vault_base_url, certificate_name, certificate_policy=None, certificate_attributes=None, tags=None, **kwargs):
        """Creates a new certificate."""
        p = models.CertificateCreateParameters(certificate_policy=certificate_policy, certificate_attributes=certificate_attributes, tags=tags)
        return super().create_certificate(vault_base_url, certificate_name, p, **kwargs)


def _without(operation, names):
    @functools.wraps(operation)
    def call(self, *args, **kwargs):
        return operation(self, *args, **{k: v for k, v in kwargs.items() if k not in names})

    return call


# The CLI passes on options that it has dealt with itself, which the client of old
# did not mind.
_OPTIONS = {"disabled", "encoding", "expires", "file_path", "hsm_name", "identifier", "include_managed", "not_before"}
for _name in dir(KeyVaultClient):
    _op = getattr(KeyVaultClient, _name)
    if not _name.startswith("_") and callable(_op) and _name not in ("models", "close"):
        setattr(KeyVaultClient, _name, _without(_op, _OPTIONS))

"""The IDs of what is in a vault, as azure-keyvault 1.1 reads them."""

from urllib.parse import urlparse


class KeyVaultIdentifier:
    """https://VAULT/COLLECTION/NAME[/VERSION]"""

    def __init__(self, uri, collection=None):
        u = urlparse(uri)
        _, has, self.name, *version = u.path.rstrip("/").split("/")
        if collection and has != collection:
            raise ValueError(f"{uri} is not one of {collection}")
        self.vault = f"{u.scheme}://{u.hostname}"
        self.version = version[0] if version else ""

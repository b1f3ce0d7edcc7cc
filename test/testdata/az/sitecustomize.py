"""Lets Debian's azure-cli 2.45 work with the Azure packages that Debian has.

Debian ships newer packages of Azure's than this azure-cli was made for, and many
of its commands end in Python before they ask anything. The CLI and Microsoft's
packages make the requests, those of networks with the api-version of Debian's.
"""

import importlib.abc
import importlib.machinery
import sys


def network(shared):
    """Debian has the network package of 2022-07-01, and not that of 2022-01-01."""
    latest = shared.AZURE_API_PROFILES["latest"]
    latest[shared.ResourceType.MGMT_NETWORK] = "2022-07-01"


def authorization(operations):
    """The CLI asks operations for config, which is their _config by now."""
    for cls in vars(operations).values():
        if isinstance(cls, type) and not hasattr(cls, "config"):
            cls.config = property(lambda self: self._config)


class Finder(importlib.abc.MetaPathFinder):
    """Runs one of the above once the module that it is for has been loaded."""

    def find_spec(self, name, path, target=None):
        if name == "azure.cli.core.profiles._shared":
            after = network
        elif name.startswith("azure.mgmt.authorization.v") and name.endswith(".operations"):
            after = authorization
        else:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                after(module)

            spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())

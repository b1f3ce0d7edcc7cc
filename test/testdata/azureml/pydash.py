"""Stands in for pydash, which Debian has not: what azure-ai-ml 1.4 takes from it."""

import sys


def get(obj, path, default=None):
    """Return what is at a dotted path of nested dicts, lists and objects."""
    for part in path.split(".") if isinstance(path, str) else path:
        if isinstance(obj, dict):
            obj = obj.get(part)
        elif isinstance(obj, (list, tuple)) and str(part).isdigit() and int(part) < len(obj):
            obj = obj[int(part)]
        else:
            obj = getattr(obj, str(part), None)
        if obj is None:
            return default
    return obj


def omit(obj, *names):
    """Return obj without the keys named."""
    drop = {n for name in names for n in (name if isinstance(name, (list, tuple)) else [name])}
    return {k: v for k, v in obj.items() if k not in drop}


# "from pydash import objects" gives the module that has them
objects = sys.modules[__name__]

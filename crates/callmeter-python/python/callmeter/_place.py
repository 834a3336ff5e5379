"""Where a call stands in the host's sources: the path of its file, from the package's root on."""

from __future__ import annotations

import os
import sys

__all__ = ["shortened"]


def shortened(path: str) -> str:
    """The path without the longest entry of ``sys.path`` that it begins with; else without the working directory."""
    try:
        roots = [os.path.abspath(entry) for entry in sys.path if isinstance(entry, str)]
        roots.append(os.getcwd())
        absolute = os.path.abspath(path)
        fitting = [root for root in roots if absolute.startswith(root.rstrip(os.sep) + os.sep)]
        if fitting and not path.startswith("<"):
            longest = max(fitting, key=len).rstrip(os.sep)
            return absolute[len(longest) + 1 :]
    except (OSError, ValueError):
        pass
    return path

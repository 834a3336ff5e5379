"""The command ``callmeter``."""

from __future__ import annotations

import signal
import sys

from callmeter import _native

__all__ = ["main"]


def main() -> int:
    """Runs the command with this process's arguments; its exit code is what it returns."""
    # The command is compiled code, which Python's own handlers do not reach.
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    return _native.run_command(["callmeter", *sys.argv[1:]], [sys.executable, "-m", "callmeter"])


if __name__ == "__main__":
    sys.exit(main())

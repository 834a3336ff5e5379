"""Builds release wheels and measures the package: `cargo xtask bench python`; arguments go to `benches/call.py`.

Two wheels: one with the baseline class, which is measured, and the one that users get, which is weighed. The peers are
pinned, in an environment of their own that is kept until the pins change.
"""

import hashlib
import subprocess
import sys
import venv

import run

PEERS = ("opentelemetry-sdk==1.45.2", "langfuse==5.0.4")
BENCHES = run.PACKAGE / "benches"


def environment(python):
    """The Python that has the peers."""
    wanted = hashlib.sha256("\n".join([*PEERS, sys.version]).encode()).hexdigest()
    home, stamp = run.TARGET / "bench-env", run.TARGET / "bench-env/installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(home, with_pip=False, clear=True)
        install(python, home / "bin/python", *PEERS)
        stamp.write_text(wanted)
    return home / "bin/python"


def install(python, into, *packages):
    run.run(python.parent / "uv", "pip", "install", "--quiet", "--reinstall", "--python", into, *packages)


def main():
    python = run.tools()
    plain = run.wheel(python, "wheels-release", "--release")
    measured = run.wheel(python, "wheels-bench", "--release", "--features", "baseline")
    bench = environment(python)
    install(python, bench, "--no-deps", measured)
    codes = [
        subprocess.run([bench, BENCHES / "call.py", *sys.argv[1:]]).returncode,
        subprocess.run([bench, BENCHES / "footprint.py", plain]).returncode,
    ]
    sys.exit(max(codes))


main()

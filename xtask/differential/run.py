"""Asks genai-prices anew and holds the readers to its answers: `cargo xtask test differential`.

Makes a virtual environment under cargo's target directory, installs the pinned package, extracts usage from the
recorded exchanges, and runs callmeter-wire's test binary `differential` on the fresh answers in place of those that
the repository keeps. With `--write` the kept ones are replaced instead.
"""

import gzip
import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FIXTURES = ROOT / "crates/callmeter-wire/tests/fixtures"
KEPT = FIXTURES / "genai_prices.jsonl.gz"


def main():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "differential"
    python = target / "venv/bin/python"
    if not python.exists():
        venv.create(target / "venv", with_pip=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([python, *install, "-r", HERE / "requirements.txt"], check=True)
    answers = subprocess.run(
        [python, HERE / "extract.py", FIXTURES / "exchanges.jsonl.gz"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    fresh = KEPT if "--write" in sys.argv else target / KEPT.name
    # No time in the header: the same answers are the same file.
    fresh.write_bytes(gzip.compress(answers, mtime=0))
    if fresh != KEPT:
        cargo = os.environ.get("CARGO", "cargo")
        test = ["test", "--locked", "--package", "callmeter-wire", "--test", "differential"]
        environment = {**os.environ, "CALLMETER_GENAI_PRICES": str(fresh)}
        sys.exit(subprocess.run([cargo, *test], cwd=ROOT, env=environment).returncode)


main()

"""Asks other projects anew and holds ours to their answers: `cargo xtask test differential`.

Makes virtual environments under cargo's target directory, installs the pinned packages, asks, and runs the test binaries
`differential` of callmeter-wire and callmeter-price on the fresh answers in place of those that the repository keeps. With
`--write` the kept ones are replaced instead.
"""

import gzip
import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WIRE = ROOT / "crates/callmeter-wire/tests/fixtures"
PRICE = ROOT / "crates/callmeter-price"

# Crate, kept answers, the variable that names others, packages, script and its input.
QUESTIONS = [
    (
        "callmeter-wire",
        WIRE / "genai_prices.jsonl.gz",
        "CALLMETER_GENAI_PRICES",
        "requirements.txt",
        ["extract.py", WIRE / "exchanges.jsonl.gz"],
    ),
    (
        "callmeter-price",
        PRICE / "tests/fixtures/opinions.jsonl.gz",
        "CALLMETER_PRICE_OPINIONS",
        "requirements-prices.txt",
        ["prices.py", PRICE / "data/sources.jsonl.gz"],
    ),
]


def ask(target, requirements, script):
    """What a script prints, run with its packages."""
    python = target / requirements.removesuffix(".txt") / "bin/python"
    if not python.exists():
        venv.create(python.parent.parent, with_pip=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([python, *install, "-r", HERE / requirements], check=True)
    name, given = script
    return subprocess.run([python, HERE / name, given], check=True, stdout=subprocess.PIPE).stdout


def main():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "differential"
    code = 0
    for crate, kept, variable, requirements, script in QUESTIONS:
        answers = ask(target, requirements, script)
        fresh = kept if "--write" in sys.argv else target / kept.name
        # No time in the header: the same answers are the same file.
        fresh.write_bytes(gzip.compress(answers, mtime=0))
        if fresh != kept:
            cargo = os.environ.get("CARGO", "cargo")
            test = ["test", "--locked", "--package", crate, "--test", "differential"]
            environment = {**os.environ, variable: str(fresh)}
            code |= subprocess.run([cargo, *test], cwd=ROOT, env=environment).returncode
    sys.exit(code)


main()

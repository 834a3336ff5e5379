"""Builds the wheel, installs it into a clean virtual environment and runs its tests: `cargo xtask test python`.

Two environments under cargo's target directory: one with what builds and tests the package, kept until the pinned
requirements or the Python change; one for the wheel, made anew each time as a user makes it. The wheel is built with
the workspace's own target directory and dev profile, so that what the Rust tests compiled is not compiled again.
The last line counts the tests as cargo does, for the totals. Arguments go to pytest.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import venv
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "crates/callmeter-python"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "python"
REQUIREMENTS = PACKAGE / "tests/requirements.txt"


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


def tools():
    """The Python that has everything the tests need, but not the package."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    home, stamp = TARGET / "tools", TARGET / "tools/installed"
    python = home / "bin/python"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(home, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, "uv==0.13.9")
        run(home / "bin/uv", "pip", "install", "--quiet", "--python", python, "-r", REQUIREMENTS)
        stamp.write_text(wanted)
    return python


def wheel(python, name="wheels", *options):
    """A wheel, in a directory of that name."""
    wheels = TARGET / name
    for old in wheels.glob("*.whl"):
        old.unlink()
    build = [python.parent / "maturin", "build", "--quiet", "--locked", "--strip", "--out", wheels, *options]
    # Lines of cargo's, none of the tests'.
    run(*build, "--interpreter", python, cwd=PACKAGE, stdout=sys.stderr)
    (built,) = wheels.glob("*.whl")
    return built


def clean(python, built):
    """A fresh environment with the wheel; what the tests need beside it comes from the other one."""
    home = TARGET / "clean"
    venv.create(home, with_pip=False, clear=True)
    run(python.parent / "uv", "pip", "install", "--quiet", "--python", home / "bin/python", "--no-deps", built)
    (packages,) = home.glob("lib/python*/site-packages")
    (theirs,) = (python.parent.parent).glob("lib/python*/site-packages")
    (packages / "tools.pth").write_text(f"{theirs}\n")
    return home / "bin/python"


def count(report):
    """The totals of pytest's report, as cargo counts them."""
    (suite,) = xml.etree.ElementTree.parse(report).getroot().iter("testsuite")
    total, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    return total - failed - skipped, failed, skipped


def main():
    python = tools()
    tested = clean(python, wheel(python))
    report = TARGET / "report.xml"
    report.unlink(missing_ok=True)
    command = [tested, "-m", "pytest", "-q", f"--junitxml={report}", *sys.argv[1:]]
    programs = [str(tested.parent), str(python.parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(programs)}
    code = subprocess.run([str(part) for part in command], cwd=PACKAGE, env=environment).returncode
    if report.exists():
        passed, failed, ignored = count(report)
        word = "FAILED" if failed else "ok"
        print(f"test result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out")
    sys.exit(code)


if __name__ == "__main__":
    main()

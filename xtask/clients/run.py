"""Real clients through `callmeter run`: `cargo xtask test clients`.

Installs the pinned clients under cargo's target directory, starts fake providers that answer as the real ones once did, runs each
client as the child of `callmeter run`, and compares, call by call, the row in the store with what the client itself
says that the call used; and all that a client prints with what it prints without callmeter. Needs Python with venv, node
with npm, curl, and the package registries.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import venv

import providers

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PLACE = TARGET / "clients"
PYTHON = PLACE / "venv/bin/python"
NODE = PLACE / "node"
CALLMETER = TARGET / "debug/callmeter"

# Rows must say what the client says, by these names.
FIELDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "reasoning": "reasoning_tokens",
    "status": "http_status",
}


def install():
    """The clients, unless what is wanted is what is there."""
    wanted = [HERE / "requirements.txt", HERE / "node/package-lock.json"]
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in wanted)).hexdigest()
    mark = PLACE / "installed"
    if mark.exists() and mark.read_text() == stamp:
        return
    began = time.monotonic()
    if not PYTHON.exists():
        venv.create(PLACE / "venv", with_pip=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", wanted[0]], check=True)
    NODE.mkdir(parents=True, exist_ok=True)
    for name in ["package.json", "package-lock.json", ".npmrc"]:
        (NODE / name).write_bytes((HERE / "node" / name).read_bytes())
    subprocess.run(["npm", "ci", "--silent", "--ignore-scripts"], cwd=NODE, check=True)
    mark.write_text(stamp)
    print(f"clients: installed in {time.monotonic() - began:.0f} s", flush=True)


def cargo_build(*args, **environ):
    cargo = os.environ.get("CARGO", "cargo")
    subprocess.run([cargo, "build", "--locked", *args], cwd=ROOT, env={**os.environ, **environ}, check=True)


def build():
    # With the features that the tests of the workspace give every crate, so that what they compiled is compiled once: those
    # of development take part in a build only where it makes an example or a test as well.
    cargo_build("--workspace", "--bin", "callmeter", "--example", "quickstart")


def build_rust():
    cargo_build("--quiet", "--manifest-path", HERE / "rust/Cargo.toml", CARGO_TARGET_DIR=str(PLACE / "rust"))


def of_node(name):
    """The command of a client for node, beside its modules, so that node finds them."""
    (NODE / "clients.mjs").write_bytes((HERE / "node/clients.mjs").read_bytes())
    return ["node", NODE / "clients.mjs", name]


def clients():
    """Each client: its name and its command."""
    for name in ["openai", "anthropic", "google-genai", "ollama", "llm"]:
        yield f"{name} (Python)", [PYTHON, HERE / "python_clients.py", name]
    for name in ["openai", "anthropic", "ai"]:
        yield f"{name} (node)", of_node(name)
    yield "async-openai (Rust)", [PLACE / "rust/debug/rust-client"]
    body = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}]})
    usage = 'import json,sys; u = json.load(sys.stdin)["usage"]; print(json.dumps({"call": "chat", "input": u["prompt_tokens"], "output": u["completion_tokens"]}))'
    curl = f"""curl -sS -H 'content-type: application/json' -d '{body}' "$OPENAI_BASE_URL/chat/completions" | {PYTHON} -c '{usage}'"""
    yield "curl", ["sh", "-c", curl]


def environment(home, url):
    """A user's environment: keys, and where the providers are."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CALLMETER_HOME": str(home / "callmeter"),
        "LLM_USER_PATH": str(home / "llm"),
        "OPENAI_API_KEY": "sk-test",
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "GEMINI_API_KEY": "test",
        "OPENAI_BASE_URL": f"{url}/v1",
        "ANTHROPIC_BASE_URL": url,
        "GOOGLE_GEMINI_BASE_URL": url,
        "OLLAMA_HOST": url,
        "NO_PROXY": "127.0.0.1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # On a machine that is busy the store may need longer than a process waits for it.
        "CALLMETER_EXIT_FLUSH": "120s",
    }


def rows(environ):
    """The rows of a home, the oldest first."""
    command = [CALLMETER, "calls", "--json", "--limit", "100"]
    lines = subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in reversed(lines)]


def differences(said, row):
    for name, field in FIELDS.items():
        # Absent is null in a row, and 0 with some clients.
        if name in said and (said[name] or 0) != (row.get(field) or 0) and said[name] is not None:
            yield f"{name}: the client says {said[name]}, the row {row.get(field)}"
    if said.get("chunks_without_choices") and said.get("input") is None:
        yield "the client saw the event that it did not ask for"
    if row.get("status") != ("error" if "status" in said else "ok"):
        yield f"the row's status is {row.get('status')}"
    if row.get("status") == "ok" and row.get("input_tokens") is None:
        yield "the row has no usage"


def check(command, url, is_repeatable=True):
    """What is wrong with a client's rows; the calls that were looked at. What is repeatable is run without callmeter too."""
    with tempfile.TemporaryDirectory() as place:
        home = pathlib.Path(place)
        environ = environment(home, url)
        plain = subprocess.run(command, env=environ, capture_output=True, text=True) if is_repeatable else None
        summary = home / "summary.json"
        led = [CALLMETER, "run", "--summary", summary, "--", *command]
        through = subprocess.run(led, env=environ, capture_output=True, text=True)
        if plain and plain.returncode != 0:
            return [f"it fails without callmeter: {plain.stderr[-2000:]}"], []
        wrong = []
        if through.returncode != 0 or plain and plain.stdout != through.stdout:
            wrong.append(f"it says something else through callmeter: {through.stdout} {through.stderr[-2000:]}")
        said = [json.loads(line) for line in through.stdout.splitlines()]
        found = rows(environ)
        told = json.loads(summary.read_text())
        if not len(said) == len(found) == told["calls"]:
            wrong.append(f"{len(said)} calls, {len(found)} rows, {told['calls']} in the summary")
        for call, row in zip(said, found):
            wrong += [f"{call['call']}: {difference}" for difference in differences(call, row)]
        return wrong, [call["call"] for call in said]


def check_all(named, url, is_repeatable=True):
    """Checks clients, prints a line for each and the totals; says whether all are as they should be."""
    passed = failed = 0
    for name, command in named:
        wrong, calls = check(command, url, is_repeatable)
        verdict = "FAILED" if wrong else "ok"
        print(f"test {name}: {', '.join(calls)} ... {verdict}", flush=True)
        for what in wrong:
            print(f"  {what}")
        passed, failed = passed + (not wrong), failed + bool(wrong)
    verdict = "FAILED" if failed else "ok"
    print(f"test result: {verdict}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out")
    return not failed


def main():
    missing = [name for name in ["node", "npm", "curl"] if not shutil.which(name)]
    if missing:
        sys.exit(f"the clients need {', '.join(missing)}: install node 20 or newer, npm and curl")
    install()
    build()
    build_rust()
    sys.exit(not check_all(clients(), providers.start()))


if __name__ == "__main__":
    main()

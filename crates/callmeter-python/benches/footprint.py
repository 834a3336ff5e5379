"""What the package weighs: ``python benches/footprint.py [WHEEL]``.

The wheel's size; what an import takes; memory over a million calls, none of them dropped; and by how much a process ends
later than one that records nothing, with each kind of store.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

#: Half of the flight buffer's slots: so many calls in a row are never too many.
BATCH = 2_000
CALLS = 1_000_000

IMPORT = """
import time
began, worked = time.perf_counter(), time.process_time()
import {module}
print((time.perf_counter() - began) * 1e3, (time.process_time() - worked) * 1e3)
"""

MEMORY = f"""
import resource, callmeter
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024
for batch in range({CALLS // BATCH}):
    if batch in ({CALLS // BATCH // 20}, {CALLS // BATCH // 2}):
        print(resident())
    for n in range({BATCH}):
        with callmeter.log_ai_call("sales_copy", "ollama", "llama3.1:8b", request_id=str(n)) as ctx:
            ctx.set_tokens(26, 112)
            ctx.set_model("llama3.2:latest")
            ctx.add_meta("n", n)
    assert callmeter.flush(60)
print(resident())
stats = callmeter.stats()
assert (stats["finished"], stats["acknowledged"]) == ({CALLS}, {CALLS}), stats
"""

EXIT = """
import sys, time, callmeter
deadline = time.monotonic() + float(sys.argv[1])
while True:
    with callmeter.log_ai_call("sales_copy", "ollama", "llama3.1:8b") as ctx:
        ctx.set_tokens(26, 112)
    if time.monotonic() > deadline:
        break
    time.sleep(0.01)
print(time.monotonic(), flush=True)
"""


def run(code: str, *arguments: str, **environment: str) -> list[float]:
    """Runs a program, with a home of its own unless one is named; the numbers that it prints, and when it had ended."""
    with tempfile.TemporaryDirectory() as home:
        mine = {name: value for name, value in os.environ.items() if not name.startswith("CALLMETER_")}
        mine |= {"CALLMETER_HOME": home, **environment}
        command = [sys.executable, "-c", code, *arguments]
        out = subprocess.run(command, env=mine, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        ended = time.monotonic()
    return [*map(float, out.stdout.split()), ended]


def imports() -> None:
    """What an import takes; beside it the modules of Python's own that it brings."""
    own = "logging, threading, functools, json, importlib.util, contextlib, typing"
    for name, module in (("import callmeter", "callmeter"), ("  its share of Python's own modules", own)):
        taken = [run(IMPORT.format(module=module))[:2] for _ in range(20)]
        wall, cpu = (statistics.median(figures) for figures in zip(*taken, strict=True))
        print(f"{name:<44} {wall:>7.1f} ms, {cpu:.1f} ms of processor time", flush=True)


def memory() -> None:
    """Resident memory while calls are made."""
    began = time.monotonic()
    early, half, last, ended = run(MEMORY)
    words = (
        f"{early:,.0f} KiB after {CALLS // 20:,} calls, {half:,.0f} after {CALLS // 2:,}, {last:,.0f} after {CALLS:,}"
    )
    print(f"{'resident memory':<44} {words} ({ended - began:.0f} s)", flush=True)


@contextlib.contextmanager
def stores() -> Iterator[dict[str, str]]:
    """A store of each kind, by its address."""
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        # Its queue is full: the kernel drops whoever knocks, as a network does that swallows packets.
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            knock = stack.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex(full.getsockname())
        yield {
            "embedded store": "",
            "a closed port": "postgres://nobody@127.0.0.1:1/nothing",
            "a store that takes connections, says nothing": f"postgres://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing",
            "a store that swallows packets": f"postgres://nobody@127.0.0.1:{full.getsockname()[1]}/nothing",
        }


def exits(count: int, seconds: float) -> None:
    """How long a process needs to end, without what it needs that records nothing."""

    def ends(**environment: str) -> list[float]:
        # One home for all: what a process learns of the store the next one knows.
        figures = []
        with tempfile.TemporaryDirectory() as home:
            for _ in range(count + 1):
                done, ended = run(EXIT, str(seconds), CALLMETER_HOME=home, **environment)
                figures.append((ended - done) * 1e3)
        return figures

    with stores() as urls:
        nothing = statistics.median(ends(CALLMETER_ENABLED="off"))
        for name, url in urls.items():
            first, *others = (ms - nothing for ms in ends(**({"CALLMETER_STORE_URL": url} if url else {})))
            later = f"later by {first:.0f} ms, then {statistics.median(others):.0f}, at most {max(others):.0f}"
            print(f"exit, {name:<45} {later}, of {count} exits after {seconds:g} s", flush=True)


def main() -> None:
    """Measures what there is to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="*", type=pathlib.Path)
    parser.add_argument("--exits", type=int, default=20, help="of each kind of store, after a first one")
    parser.add_argument("--only-exits", action="store_true")
    args = parser.parse_args()
    for wheel in args.wheel:
        print(f"{'wheel':<44} {wheel.stat().st_size / 1e6:.2f} MB")
    if not args.only_exits:
        imports()
        memory()
    for seconds in (0.0, 1.0):
        exits(args.exits, seconds)


if __name__ == "__main__":
    main()

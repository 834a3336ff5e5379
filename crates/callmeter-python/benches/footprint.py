"""What the package weighs: the wheel, an import, memory over a million calls: ``python benches/footprint.py [WHEEL]``."""

from __future__ import annotations

import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

MEMORY = """
import resource, callmeter
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024
for million in range({calls} // 50_000 + 1):
    if million in (1, {calls} // 50_000):
        print(resident(), flush=True)
    for _ in range(50_000 if million else 1):
        with callmeter.log_ai_call("sales_copy", "ollama", "llama3.1:8b") as ctx:
            ctx.set_tokens(26, 112)
            ctx.set_model("llama3.2:latest")
            ctx.add_meta("n", 1)
    callmeter.flush(60)
"""


def seconds(command: list[str]) -> float:
    """The processor time of a command, without that of this process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measures what there is to measure."""
    for argument in sys.argv[1:]:
        wheel = pathlib.Path(argument)
        print(f"wheel           {wheel.stat().st_size / 1e6:.2f} MB")
    nothing = [seconds([sys.executable, "-c", "pass"]) for _ in range(20)]
    imported = [seconds([sys.executable, "-c", "import callmeter"]) for _ in range(20)]
    print(f"import          {(statistics.median(imported) - statistics.median(nothing)) * 1e3:.1f} ms of processor time")
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "CALLMETER_HOME": home}
        began = time.perf_counter()
        code = MEMORY.format(calls=1_000_000)
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        first, last = (int(line) for line in done.stdout.split())
        print(f"memory          {first} KiB after 50,000 calls, {last} KiB after 1,000,000 ({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()

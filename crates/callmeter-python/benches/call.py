"""What a recorded call costs a host in Python, against its baselines in the same run: ``python benches/call.py``.

Needs a release wheel that was built with the feature ``baseline``, and, for the peers, ``opentelemetry-sdk`` and ``langfuse``;
a peer that is not installed is left out. Prints one line a case: nanoseconds a call, p50 and p99 over batches. Cases:
the bare PyO3 class (with one look-up of each kill switch and one of the frame), callmeter on, off, with 40 and 100 variables in
the environment, four threads, paced at 200 calls a second, the store down, the store hanging.
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
import threading
import time
from collections.abc import Callable, Iterator

#: Calls in a batch: half of the flight buffer's slots, so that none is dropped.
BATCH = 2_000
#: The names of the host's environment in the two cases that have more of it.
FILLING = "BENCH_FILLING_{}"


def callmeter_call() -> Callable[[], None]:
    from callmeter import log_ai_call

    def call() -> None:
        with log_ai_call("sales_copy", "ollama", "llama3.1:8b") as ctx:
            ctx.set_tokens(input=26, output=112)
            ctx.set_provider("gcp_ollama")
            ctx.set_model("llama3.2:latest")
            ctx.set_cache_hit(False)
            ctx.set_rag_hit(True)

    return call


def bare_call() -> Callable[[], None]:
    from callmeter._native import BareCall

    def call() -> None:
        with BareCall("sales_copy", "ollama", "llama3.1:8b") as ctx:
            ctx.set_tokens(input=26, output=112)
            ctx.set_provider("gcp_ollama")
            ctx.set_model("llama3.2:latest")
            ctx.set_cache_hit(False)
            ctx.set_rag_hit(True)

    return call


def opentelemetry_call() -> Callable[[], None]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracer = provider.get_tracer("bench")

    def call() -> None:
        with tracer.start_as_current_span("chat") as span:
            span.set_attribute("gen_ai.usage.input_tokens", 26)
            span.set_attribute("gen_ai.usage.output_tokens", 112)
            span.set_attribute("gen_ai.provider.name", "gcp_ollama")
            span.set_attribute("gen_ai.response.model", "llama3.2:latest")
            span.set_attribute("cache_hit", False)
            span.set_attribute("rag_hit", True)

    return call


def langfuse_call() -> Callable[[], None]:
    from langfuse import Langfuse

    client = Langfuse(public_key="pk", secret_key="sk", host="http://127.0.0.1:9", flush_interval=3_600)

    def call() -> None:
        with client.start_as_current_observation(name="chat", as_type="generation", model="llama3.1:8b") as generation:
            generation.update(
                usage_details={"input": 26, "output": 112},
                model="llama3.2:latest",
                metadata={"provider": "gcp_ollama", "cache_hit": False, "rag_hit": True},
            )

    return call


def batches(call: Callable[[], None], count: int, settle: Callable[[], object]) -> list[float]:
    """Nanoseconds a call, of each batch."""
    figures = []
    for _ in range(count):
        began = time.perf_counter_ns()
        for _ in range(BATCH):
            call()
        figures.append((time.perf_counter_ns() - began) / BATCH)
        settle()
    return figures


def paced(call: Callable[[], None], seconds: float) -> list[float]:
    """Nanoseconds of single calls, 200 a second."""
    figures = []
    due = time.perf_counter()
    for _ in range(int(seconds * 200)):
        due += 1 / 200
        time.sleep(max(0.0, due - time.perf_counter()))
        began = time.perf_counter_ns()
        call()
        figures.append(float(time.perf_counter_ns() - began))
    return figures


def in_threads(call: Callable[[], None], count: int, settle: Callable[[], object]) -> list[float]:
    """As `batches`, of four threads at once that share the interpreter's lock."""
    figures: list[float] = []
    for _ in range(count):
        start = threading.Barrier(4)
        each: list[float] = []

        def work(start: threading.Barrier = start, each: list[float] = each) -> None:
            start.wait()
            for _ in range(BATCH // 4):
                began = time.perf_counter_ns()
                call()
                each.append(float(time.perf_counter_ns() - began))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures += each
        settle()
    return figures


def tell(case: str, figures: list[float]) -> None:
    figures.sort()
    p99 = figures[min(len(figures) - 1, int(len(figures) * 0.99))]
    print(f"{case:<28} p50 {statistics.median(figures):>9.0f} ns   p99 {p99:>9.0f} ns   n {len(figures)}", flush=True)


@contextlib.contextmanager
def hanging_store() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgres://nobody@127.0.0.1:{server.getsockname()[1]}/nothing"


def case(name: str, count: int, seconds: float) -> None:
    """Runs one case in this process."""
    import callmeter

    def settle() -> object:
        return callmeter.flush(10)

    makers = {
        "bare": bare_call,
        "bare, four threads": bare_call,
        "bare, paced": bare_call,
        "opentelemetry": opentelemetry_call,
        "langfuse": langfuse_call,
    }
    try:
        call = makers.get(name, callmeter_call)()
    except ImportError as missing:
        print(f"{name:<28} left out: {missing}")
        return
    for _ in range(200):
        call()
    is_ours = name not in makers
    rest = settle if is_ours and "store" not in name else lambda: time.sleep(0.2)
    if "paced" in name or "store" in name:
        tell(name, paced(call, seconds))
    elif "four threads" in name:
        tell(name, in_threads(call, count, rest))
    else:
        tell(name, batches(call, count, rest))


#: Each case with what it changes in the environment of its process.
CASES: dict[str, dict[str, str]] = {
    "bare": {},
    "callmeter": {},
    "callmeter, 40 variables": {FILLING.format(n): "x" for n in range(40)},
    "callmeter, 100 variables": {FILLING.format(n): "x" for n in range(100)},
    "callmeter, off": {"CALLMETER_ENABLED": "off"},
    "bare, four threads": {},
    "callmeter, four threads": {},
    "bare, paced": {},
    "callmeter, paced": {},
    "callmeter, store down": {"CALLMETER_STORE_URL": "postgres://nobody@127.0.0.1:1/nothing"},
    "callmeter, store hanging": {},
    "opentelemetry": {},
    "langfuse": {},
}


def main() -> None:
    """Runs each case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each paced case")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        case(args.case, args.batches, args.seconds)
        return
    for name, changes in CASES.items():
        with tempfile.TemporaryDirectory() as home, hanging_store() as url:
            environment = {**os.environ, "CALLMETER_HOME": home, **changes}
            if name == "callmeter, store hanging":
                environment["CALLMETER_STORE_URL"] = url
            command = [sys.executable, __file__, "--case", name]
            command += ["--batches", str(args.batches), "--seconds", str(args.seconds)]
            subprocess.run(command, env=environment, check=True, cwd=pathlib.Path(home), stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

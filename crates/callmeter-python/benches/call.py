"""What a recorded call costs a host in Python, against its baselines in the same run: ``python benches/call.py``.

Needs a release wheel that was built with the feature ``baseline`` (``cargo xtask bench python`` makes one), and, for the
peers, ``opentelemetry-sdk`` and ``langfuse``; a peer that is not installed is left out. Each case is a process of its
own with a home of its own; rounds go through all cases, so that what the machine does meanwhile falls on all alike.

One call is ``with``, the five usual setters, and the end. It is measured in two ways:

``call``
    nanoseconds a call of a batch that is timed as a whole: the median batch, and the ratio to the bare class under the
    same load. Of four threads, the time of the batch by the number of its calls: they share the interpreter's lock
``p50``, ``p99``
    of single calls, each between two readings of the clock, which cost a tenth of a microsecond and are in the figure

Between batches everything that was recorded leaves the flight buffer, so that none is dropped; one that was is said.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

#: Calls in a batch: half of the flight buffer's slots, so that none is dropped.
BATCH = 2_000
#: Calls a second of a paced case, by all of its threads.
PACE = 200
#: As long as it may take until a batch has left the flight buffer.
PATIENCE_S = 20.0

Call = Callable[[], None]
Settle = Callable[[], object]


class Case(NamedTuple):
    """What is called, under which load, and what is wrong meanwhile."""

    subject: str
    threads: int = 1
    is_paced: bool = False
    store: str = ""
    #: How many more names the environment has.
    variables: int = 0

    @property
    def load(self) -> str:
        """The load in words."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{threads}, {PACE}/s" if self.is_paced else threads

    @property
    def name(self) -> str:
        """The case in words."""
        extra = [self.subject]
        extra += [f"store {self.store}"] if self.store else []
        extra += [f"{self.variables} variables"] if self.variables else []
        return f"{', '.join(extra)}: {self.load}"


LOADS: list[dict[str, Any]] = [{}, {"threads": 4}, {"is_paced": True}, {"threads": 4, "is_paced": True}]
CASES = [
    *(Case("bare class", **load) for load in LOADS),
    *(Case("callmeter", **load) for load in LOADS),
    Case("callmeter", variables=40),
    Case("callmeter", variables=100),
    Case("callmeter off"),
    Case("callmeter off", threads=4),
    *(Case("callmeter", store="down", **load) for load in LOADS[:3]),
    *(Case("callmeter", store="hanging", **load) for load in LOADS[:3]),
    *(Case("opentelemetry", **load) for load in LOADS[:3]),
    *(Case("langfuse", **load) for load in LOADS[:3]),
]


def callmeter_call() -> tuple[Call, Settle]:
    import callmeter
    from callmeter import log_ai_call

    def call() -> None:
        with log_ai_call("sales_copy", "ollama", "llama3.1:8b") as ctx:
            ctx.set_tokens(input=26, output=112)
            ctx.set_provider("gcp_ollama")
            ctx.set_model("llama3.2:latest")
            ctx.set_cache_hit(False)
            ctx.set_rag_hit(True)

    def settle() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (stats := callmeter.stats()) and stats["buffered"] + stats["moving"] > 0:
            assert time.monotonic() < deadline, stats
            time.sleep(0.002)

    return call, settle


def bare_call() -> tuple[Call, Settle]:
    from callmeter._native import BareCall

    def call() -> None:
        with BareCall("sales_copy", "ollama", "llama3.1:8b") as ctx:
            ctx.set_tokens(input=26, output=112)
            ctx.set_provider("gcp_ollama")
            ctx.set_model("llama3.2:latest")
            ctx.set_cache_hit(False)
            ctx.set_rag_hit(True)

    return call, lambda: time.sleep(0.002)


def opentelemetry_call() -> tuple[Call, Settle]:
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

    return call, provider.force_flush


def langfuse_call() -> tuple[Call, Settle]:
    from langfuse import Langfuse

    client = Langfuse(public_key="pk", secret_key="sk", host=os.environ["BENCH_SERVER"])

    def call() -> None:
        with client.start_as_current_observation(name="chat", as_type="generation", model="llama3.1:8b") as generation:
            generation.update(
                usage_details={"input": 26, "output": 112},
                model="llama3.2:latest",
                metadata={"provider": "gcp_ollama", "cache_hit": False, "rag_hit": True},
            )

    return call, client.flush


MAKERS = {
    "bare class": bare_call,
    "callmeter": callmeter_call,
    "callmeter off": callmeter_call,
    "opentelemetry": opentelemetry_call,
    "langfuse": langfuse_call,
}


def timed_whole(call: Call, count: int) -> list[int]:
    """Calls; one figure: how long all of them took."""
    began = time.perf_counter_ns()
    for _ in range(count):
        call()
    return [time.perf_counter_ns() - began]


def timed_singly(call: Call, count: int) -> list[int]:
    """Calls; how long each took."""
    figures = []
    now = time.perf_counter_ns
    for _ in range(count):
        began = now()
        call()
        figures.append(now() - began)
    return figures


def timed_paced(call: Call, count: int, pace: float) -> list[int]:
    """Calls, so many a second; how long each took."""
    figures = []
    due = time.perf_counter()
    for _ in range(count):
        due += 1 / pace
        time.sleep(max(0.0, due - time.perf_counter()))
        figures += timed_singly(call, 1)
    return figures


def in_threads(threads: int, work: Callable[[], list[int]]) -> tuple[int, list[int]]:
    """Work by threads that begin together; how long all of it took, and every figure."""
    if threads == 1:
        began = time.perf_counter_ns()
        figures = work()
        return time.perf_counter_ns() - began, figures
    start = threading.Barrier(threads + 1)
    figures = []

    def run() -> None:
        start.wait()
        figures.extend(work())

    hands = [threading.Thread(target=run) for _ in range(threads)]
    for hand in hands:
        hand.start()
    start.wait()
    began = time.perf_counter_ns()
    for hand in hands:
        hand.join()
    return time.perf_counter_ns() - began, figures


def measure(case: Case, batches: int, seconds: float) -> dict[str, Any]:
    """Runs one case in this process."""
    try:
        call, settle = MAKERS[case.subject]()
    except ImportError as missing:
        return {"missing": str(missing)}
    for _ in range(200):
        call()
    settle()
    share = BATCH // case.threads
    whole: list[float] = []
    single: list[int] = []
    if case.is_paced:
        pace = PACE / case.threads
        count = int(seconds * pace)
        _, single = in_threads(case.threads, lambda: timed_paced(call, count, pace))
    else:
        for _ in range(batches):
            took, figures = in_threads(case.threads, lambda: timed_whole(call, share))
            whole.append((figures[0] if case.threads == 1 else took) / BATCH)
            settle()
        for _ in range(max(1, batches // 4)):
            single += in_threads(case.threads, lambda: timed_singly(call, share))[1]
            settle()
    return {"whole": whole, "single": single, "dropped": dropped()}


def dropped() -> int:
    """How many calls were lost."""
    callmeter = sys.modules.get("callmeter")
    stats = callmeter.stats() if callmeter else {}
    return sum(stats["dropped"].values()) if stats else 0


@contextlib.contextmanager
def hanging_store() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgres://nobody@127.0.0.1:{server.getsockname()[1]}/nothing"


class TakesAll(http.server.BaseHTTPRequestHandler):
    """What a peer sends its spans to: it takes everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def peers_server() -> Iterator[str]:
    """The address of a server that takes everything."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), TakesAll) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def run(number: int, case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """One case in a process of its own."""
    with tempfile.TemporaryDirectory() as home, hanging_store() as hanging, peers_server() as server:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLMETER_")}
        environment |= {f"BENCH_FILLING_{n}": "x" for n in range(case.variables)}
        environment |= {"CALLMETER_HOME": home, "BENCH_SERVER": server}
        if case.subject.endswith("off"):
            environment["CALLMETER_ENABLED"] = "off"
        if case.store:
            down = "postgres://nobody@127.0.0.1:1/nothing"
            environment["CALLMETER_STORE_URL"] = down if case.store == "down" else hanging
        command = [sys.executable, os.path.abspath(__file__), "--case", str(number)]
        command += ["--batches", str(args.batches), "--seconds", str(args.seconds)]
        with open(os.path.join(home, "log"), "w+") as log:
            done = subprocess.run(command, env=environment, cwd=home, stdout=subprocess.PIPE, stderr=log)
            if done.returncode != 0:
                log.seek(0)
                sys.exit(f"{case.name}: ended with {done.returncode}\n{log.read()}")
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures


def tell(case: Case, rounds: list[dict[str, Any]], bare: dict[str, float]) -> None:
    """One line; the bare class's figures are kept for the cases with the same load."""
    if missing := rounds[0].get("missing"):
        print(f"{case.name:<44} left out: {missing}")
        return
    single = sorted(figure for figures in rounds for figure in figures["single"])
    p50, p99 = statistics.median(single), single[int(len(single) * 0.99)]
    whole = [statistics.median(figures["whole"]) for figures in rounds if figures["whole"]]
    cost = statistics.median(whole) if whole else p50
    base = bare.setdefault(case.load, cost)
    spread = f"{min(whole):>7.0f} to {max(whole):>7.0f}" if whole else " " * 18
    lost = sum(figures["dropped"] for figures in rounds)
    words = f"{case.name:<44} call {cost:>8.0f} ns  {spread}  {cost / base:>6.2f} x  p50 {p50:>8.0f}  p99 {p99:>8.0f}"
    words += f"  {p99 / p50:>5.1f} x"
    print(words + (f"  {lost} DROPPED" if lost else ""), flush=True)


def main() -> None:
    """Runs each case in a process of its own, round after round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=20, help="of each case in a round")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each paced case in a round")
    parser.add_argument("--only", default="", help="cases whose name contains this, and the bare class")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        print(json.dumps(measure(CASES[args.case], args.batches, args.seconds)))
        return
    wanted = [(n, case) for n, case in enumerate(CASES) if args.only in case.name or case.subject == "bare class"]
    found: dict[int, list[dict[str, Any]]] = {number: [] for number, _ in wanted}
    for _ in range(args.rounds):
        for number, case in wanted:
            found[number].append(run(number, case, args))
    bare: dict[str, float] = {}
    for number, case in wanted:
        tell(case, found[number], bare)


if __name__ == "__main__":
    main()

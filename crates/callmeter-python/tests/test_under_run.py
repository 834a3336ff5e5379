"""A guard of Python's in a program that ``callmeter run`` started, by the command that the wheel brings: whoever sees a call,
one row of it has a price.
"""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5-mini-2025-08-07",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 26, "completion_tokens": 112, "total_tokens": 138},
}


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers every request as OpenAI would, and remembers the headers."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.append(dict(self.headers))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def provider(host: Any) -> Iterator[list[dict[str, str]]]:
    """A provider to which the host's variable leads; the headers that came to it."""
    seen: list[dict[str, str]] = []
    handler = type("Handler", (Provider,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host.environment["OPENAI_BASE_URL"] = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


ASK = """
import json, os, urllib.request
import callmeter

def ask(**headers):
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    headers |= {"content-type": "application/json", "authorization": "Bearer none"}
    request = urllib.request.Request(url, json.dumps({"model": "gpt-5-mini", "messages": []}).encode(), headers)
    # No proxy of the environment's: the address is this machine's.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)["usage"]

"""


def run(host: Any, program: str) -> list[dict[str, Any]]:
    """Runs a program under ``callmeter run``; every row, the guard's first."""
    path = host.write("program.py", ASK + program)
    host.command("run", "--", sys.executable, str(path))
    return sorted(host.rows(), key=lambda row: str(row["layer"]))


def test_a_guard_that_sends_its_id_along_is_one_row_with_the_price_of_what_passed(
    host: Any, provider: list[dict[str, str]]
) -> None:
    (row,) = run(
        host,
        """
with callmeter.log_ai_call("sales_copy", "openai", "gpt-5-mini", request_id="r-1", meta={"shop": "Köln"}) as ctx:
    ask(**{"x-callmeter-call": ctx.call_id})
    ctx.set_tokens(1, 1)
    print(ctx.call_id)
""",
    )
    assert (row["caller"], row["request_id"], row["meta"]) == ("sales_copy", "r-1", {"shop": "Köln"})
    # What the wire said wins over what the host said of it.
    assert (row["input_tokens"], row["output_tokens"]) == (26, 112)
    assert (row["model"], row["model_requested"]) == ("gpt-5-mini-2025-08-07", "gpt-5-mini")
    assert float(row["cost_usd"]) > 0
    (headers,) = provider
    assert not [name for name in headers if name.lower().startswith("x-callmeter")]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_guard_that_nothing_links_leaves_the_money_to_the_row_of_what_passed(
    host: Any, provider: list[dict[str, str]], is_async: bool
) -> None:
    guard, passed = run(
        host,
        """
import asyncio

@callmeter.logged_ai_call("sales_copy", "openai", "gpt-5-mini")
async def later():
    return {"usage": await asyncio.to_thread(ask)}

@callmeter.logged_ai_call("sales_copy", "openai", "gpt-5-mini")
def now():
    return {"usage": ask()}

"""
        + ("asyncio.run(later())" if is_async else "now()"),
    )
    assert (guard["layer"], guard["caller"], guard["cost_usd"]) == ("guard", "sales_copy", None)
    assert guard["unpriced_reason"] == "counted_elsewhere"
    assert (guard["input_tokens"], guard["output_tokens"]) == (26, 112)
    assert (passed["layer"], passed["input_tokens"], passed["output_tokens"]) == ("proxy", 26, 112)
    assert float(passed["cost_usd"]) > 0
    report = json.loads(host.command("report", "--json"))
    assert report["possible_doubles"] in (None, {"calls": 0, "cost_usd": "0"})


def test_a_guard_of_a_provider_that_was_not_led_keeps_its_price(host: Any, provider: list[dict[str, str]]) -> None:
    (row,) = run(
        host,
        """
with callmeter.log_ai_call("sales_copy", "mistral", "mistral-large-2411") as ctx:
    ctx.set_tokens(26, 112)
""",
    )
    assert float(row["cost_usd"]) > 0
    assert not provider

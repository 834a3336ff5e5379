"""Fake providers for real clients: the recorded exchanges of callmeter-wire, served over HTTP.

One server answers the paths of OpenAI, Anthropic, Gemini and Ollama, plain and streaming, with bodies that the real ones
once sent. A chat stream of OpenAI's keeps its usage to itself unless the request asks for it, as the real one's
does. The model `fails-429` is answered by that status. `chosen()` says which figures an answer carries.
"""

import gzip
import json
import pathlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "crates/callmeter-wire/tests/fixtures/exchanges.jsonl.gz"

# The path of a request, and the interface that it belongs to.
ROUTES = [
    (r"/chat/completions$", "openai", "chat_completions"),
    (r"/responses$", "openai", "responses"),
    (r"/embeddings$", "openai", "embeddings"),
    (r"/messages$", "anthropic", "messages"),
    (r":(stream)?[gG]enerateContent$", "gemini", "generate_content"),
    (r"/api/chat$", "ollama", "ollama_chat"),
]
ERRORS = {
    "openai": {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}},
    "anthropic": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
    "gemini": {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}},
    "ollama": {"error": "slow down"},
}


def is_simple(exchange):
    """Whether every client can show this answer: figures that are beyond doubt, and a text."""
    expected, response = exchange["expected"], exchange["response"]
    body = response["body"]
    return (
        response["status"] == 200
        and response["body_encoding"] == "utf8"
        and not exchange["undetermined"]
        and not exchange["notes"]
        and expected["is_call"]
        and expected["input_tokens"]
        and (expected["output_tokens"] or expected["api"] == "embeddings")
        and exchange["fidelity"].startswith("raw")
        and not re.search(r'"(tool_calls|tool_use|function_call|web_search_call|mcp_call)"', body)
        and "\"refusal\":\"" not in body
        and len(body) < 60_000
    )


def chosen(exchanges=FIXTURES):
    """The exchange that answers each interface, plain and streaming; the richest in figures of those that are simple."""
    found = {}
    with gzip.open(exchanges, "rt") as lines:
        for line in lines:
            exchange = json.loads(line)
            expected = exchange["expected"]
            key = (expected["provider"], expected["api"], bool(expected["streaming"]))
            if key[:2] not in [route[1:] for route in ROUTES] or not is_simple(exchange):
                continue
            if key == ("openai", "chat_completions", True) and not exchange["request"]["include_usage"]:
                continue
            if key == ("gemini", "generate_content", True) and not exchange["response"]["body"].startswith("data:"):
                continue
            parts = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
            rich = sum(bool(expected[part]) for part in parts)
            if key not in found or rich > found[key][0]:
                found[key] = (rich, exchange)
    return {key: exchange for key, (_, exchange) in found.items()}


def without_usage(body):
    """A chat stream as it is when nobody asked for usage."""
    events = [event for event in body.split("\n\n") if not re.search(r'"choices":\s*\[\]', event)]
    return "\n\n".join(re.sub(r',?"usage":\s*null', "", event) for event in events)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    exchanges = {}

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")
        path = self.path.split("?")[0]
        for pattern, provider, api in ROUTES:
            if re.search(pattern, path):
                return self.model_call(path, body, provider, api)
        self.whole(404, "application/json", b'{"error":"no such path"}')

    def do_GET(self):
        self.whole(404, "application/json", b'{"error":"no such path"}')

    def model_call(self, path, body, provider, api):
        model = body.get("model") or path
        if "fails-429" in model:
            return self.whole(429, "application/json", json.dumps(ERRORS[provider]).encode())
        streams = "streamGenerateContent" in path or body.get("stream", api == "ollama_chat")
        exchange = self.exchanges[(provider, api, bool(streams))]
        text = exchange["response"]["body"]
        if streams and api == "chat_completions" and not (body.get("stream_options") or {}).get("include_usage"):
            text = without_usage(text)
        kind = exchange["response"]["content_type"] or "application/json"
        if streams:
            self.stream(kind, text)
        else:
            self.whole(200, kind, text.encode())

    def whole(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, kind, text):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in re.split(r"(?<=\n)", text):
            data = piece.encode()
            if data:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


def start():
    """A server on a free port, in threads of its own; gives its address."""
    import threading

    Handler.exchanges = chosen()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


if __name__ == "__main__":
    for key, exchange in sorted(chosen().items()):
        figures = {name: exchange["expected"][name] for name in exchange["expected"] if name.endswith("_tokens")}
        print(*key, exchange["id"], exchange["expected"]["model_answered"], figures)

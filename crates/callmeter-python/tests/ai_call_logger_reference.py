"""The module that callmeter replaces, as its contract describes it: what the golden table calls "old".

No database: ``written`` collects the rows that it would have inserted, as the columns of ``ai_calls``.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from typing import Any

COST_TABLE = {
    "gemini-2.5-flash": (0.075, 0.30),
    "gemini-2.0-flash": (0.075, 0.30),
    "gemini-1.5-flash": (0.075, 0.30),
    "gemini-2.5-pro": (1.25, 10.0),
    "claude-opus-4-7": (15.0, 75.0),
    "claude-sonnet-4-6": (3.0, 15.0),
    "claude-haiku-4-5": (0.8, 4.0),
    "llama3.1:8b": (0.0, 0.0),
    "hermes3:latest": (0.0, 0.0),
}

written: list[dict[str, Any]] = []


def _is_logging_enabled() -> bool:
    return os.environ.get("AI_CALL_LOGGING_ENABLED", "true").strip().lower() not in ("false", "0", "no", "off")


def _number(value: Any) -> int:
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


class _CallState:
    def __init__(self, caller, provider, model, request_id=None, meta=None):
        self.caller, self.provider, self.model, self.request_id = caller, provider, model, request_id
        self.input_tokens = self.output_tokens = 0
        self.duration_ms = self.status = self.fallback_to = self.error = None
        self.cost_usd = 0.0
        self.cache_hit = self.rag_hit = False
        self.meta = dict(meta or {})

    def set_tokens(self, input=0, output=0):
        self.input_tokens, self.output_tokens = _number(input), _number(output)

    def set_provider(self, p):
        if p:
            self.provider = str(p)[:32]

    def set_model(self, m):
        if m:
            self.model = str(m)[:128]

    def set_cache_hit(self, hit=True):
        self.cache_hit = bool(hit)

    def set_rag_hit(self, hit=True):
        self.rag_hit = bool(hit)

    def fallback_to_caller(self, target):
        self.fallback_to, self.status = str(target)[:64], "fallback"

    fallback_to_target = fallback_to_caller

    def set_error(self, msg):
        self.error, self.status = str(msg)[:2000], "error"

    def set_status(self, s):
        self.status = str(s)[:16]

    def set_prompt_hash(self, prompt):
        if prompt:
            self.meta["prompt_hash"] = hashlib.sha256(str(prompt).encode("utf-8", "replace")).hexdigest()[:12]

    def add_meta(self, key, value):
        if key:
            self.meta[key] = value


def _calc_cost(model, input_tokens, output_tokens):
    price_in, price_out = COST_TABLE.get(model, (0.0, 0.0))
    cost = (max(0, input_tokens) * price_in + max(0, output_tokens) * price_out) / 1_000_000
    return min(round(cost, 6), 9999.999999)


def _safe_meta_json(meta):
    try:
        return json.dumps(meta, ensure_ascii=False, default=str)
    except Exception:
        return "{}"


def _write_to_db(state):
    written.append(
        {
            "caller": (state.caller or "unknown")[:64],
            "provider": (state.provider or "unknown")[:32],
            "model": (state.model or "unknown")[:128],
            "input_tokens": state.input_tokens,
            "output_tokens": state.output_tokens,
            "status": (state.status or "ok")[:16],
            "fallback_to": state.fallback_to[:64] if state.fallback_to else None,
            "cache_hit": state.cache_hit,
            "rag_hit": state.rag_hit,
            "request_id": state.request_id,
            "error": state.error[:2000] if state.error else None,
            "meta": json.loads(_safe_meta_json(state.meta)),
        }
    )


@contextlib.contextmanager
def log_ai_call(caller, provider, model, request_id=None, meta=None):
    state = _CallState(caller, provider, model, request_id, meta)
    began = time.monotonic()
    try:
        yield state
    except Exception as error:
        state.status = "error"
        if not state.error:
            state.error = f"{type(error).__name__}: {str(error)[:1500]}"
        raise
    finally:
        state.duration_ms = int((time.monotonic() - began) * 1000)
        state.status = state.status or "ok"
        state.cost_usd = _calc_cost(state.model, state.input_tokens, state.output_tokens)
        if _is_logging_enabled():
            _write_to_db(state)


def _auto_extract_tokens(ctx, result):
    if not isinstance(result, dict):
        return
    usage = result.get("usage")
    if isinstance(usage, dict) and usage:
        ctx.set_tokens(
            usage.get("prompt_tokens") or usage.get("input_tokens"),
            usage.get("completion_tokens") or usage.get("output_tokens"),
        )
    elif "prompt_eval_count" in result or "eval_count" in result:
        ctx.set_tokens(result.get("prompt_eval_count"), result.get("eval_count"))


def logged_ai_call(caller, provider, model=None, model_extractor=None):
    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            name = model
            if model_extractor:
                try:
                    name = model_extractor(args, kwargs)
                except Exception:
                    name = model
            with log_ai_call(caller, provider, name or "unknown") as ctx:
                result = function(*args, **kwargs)
                with contextlib.suppress(Exception):
                    _auto_extract_tokens(ctx, result)
                return result

        return call

    return decorate

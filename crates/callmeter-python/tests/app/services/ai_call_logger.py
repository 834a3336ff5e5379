"""Records every LLM call in ``ai_calls``, off the caller's thread."""

import contextlib
import functools
import hashlib
import json
import logging
import os
import threading
import time

logger = logging.getLogger("services.ai_call_logger")

_MAX_CONSECUTIVE_FAILURES = 10
_failure_state = {"count": 0, "killed": False}

COST_TABLE = {
    "gemini-2.5-flash": (0.075, 0.30),
    "gemini-2.0-flash": (0.075, 0.30),
    "gemini-1.5-flash": (0.075, 0.30),
    "gemini-2.5-pro": (1.25, 10.0),
    "claude-opus-4-7": (15.0, 75.0),
    "claude-sonnet-4-6": (3.0, 15.0),
    "claude-haiku-4-5": (0.8, 4.0),
    "meta/llama-3.1-8b-instruct": (0.0, 0.0),
    "meta/llama-3.3-70b-instruct": (0.0, 0.0),
    "nvidia/llama-3.3-nemotron-super-49b-v1.5": (0.0, 0.0),
    "deepseek-ai/deepseek-v3.2": (0.0, 0.0),
    "hermes3:latest": (0.0, 0.0),
    "qwen2.5-coder:7b": (0.0, 0.0),
    "qwen2.5-coder:32b": (0.0, 0.0),
    "qwen2.5:7b-instruct": (0.0, 0.0),
    "qwen3:14b": (0.0, 0.0),
    "qwen2-vl:7b": (0.0, 0.0),
    "deepseek-r1:14b": (0.0, 0.0),
    "gemma3:4b": (0.0, 0.0),
    "minicpm-v:latest": (0.0, 0.0),
    "llava:latest": (0.0, 0.0),
    "llama3.1:8b": (0.0, 0.0),
    "llama3.2:latest": (0.0, 0.0),
    "bge-m3:latest": (0.0, 0.0),
}
_FREE = ("meta/", "nvidia/", "deepseek-")


def _is_logging_enabled():
    value = os.environ.get("AI_CALL_LOGGING_ENABLED", "true")
    return value.strip().lower() not in ("false", "0", "no", "off")


def _as_int(value):
    try:
        return int(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0


class _CallState:
    def __init__(self, caller, provider, model, request_id=None, meta=None):
        self.caller = caller
        self.provider = provider
        self.model = model
        self.request_id = request_id
        self.input_tokens = 0
        self.output_tokens = 0
        self.duration_ms = None
        self.status = None
        self.fallback_to = None
        self.cost_usd = 0.0
        self.cache_hit = False
        self.rag_hit = False
        self.error = None
        self.meta = dict(meta or {})

    def set_tokens(self, input=0, output=0):
        self.input_tokens = _as_int(input)
        self.output_tokens = _as_int(output)

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
        self.fallback_to = str(target)[:64]
        self.status = "fallback"

    fallback_to_target = fallback_to_caller

    def set_error(self, msg):
        self.error = str(msg)[:2000]
        self.status = "error"

    def set_status(self, s):
        self.status = str(s)[:16]

    def set_prompt_hash(self, prompt):
        if prompt:
            digest = hashlib.sha256(str(prompt).encode("utf-8", "replace"))
            self.meta["prompt_hash"] = digest.hexdigest()[:12]

    def add_meta(self, key, value):
        if key:
            self.meta[key] = value


def _calc_cost(model, input_tokens, output_tokens):
    price = COST_TABLE.get(model)
    if price is None:
        if not str(model).startswith(_FREE):
            logger.warning("[AICallLogger] unknown model %s, cost 0", model)
        return 0.0
    cost = (max(0, input_tokens) * price[0] + max(0, output_tokens) * price[1]) / 1_000_000
    return min(round(cost, 6), 9999.999999)


def _safe_meta_json(meta):
    try:
        return json.dumps(meta or {}, ensure_ascii=False, default=str)
    except Exception:
        return "{}"


def _record_failure():
    _failure_state["count"] += 1
    if _failure_state["count"] >= _MAX_CONSECUTIVE_FAILURES and not _failure_state["killed"]:
        _failure_state["killed"] = True
        logger.error("[AICallLogger] %d writes failed in a row, calls are only logged", _failure_state["count"])


def _record_success():
    _failure_state.update(count=0, killed=False)


def _is_killed():
    return _failure_state["killed"]


def _reset_kill_switch():
    _failure_state.update(count=0, killed=False)


def _write_to_db(state):
    try:
        from database.manager import get_session
        from database.models import ai_calls

        session = get_session()
        try:
            session.execute(
                ai_calls.insert().values(
                    caller=(state.caller or "unknown")[:64],
                    provider=(state.provider or "unknown")[:32],
                    model=(state.model or "unknown")[:128],
                    input_tokens=state.input_tokens,
                    output_tokens=state.output_tokens,
                    duration_ms=state.duration_ms or 0,
                    status=(state.status or "ok")[:16],
                    fallback_to=state.fallback_to[:64] if state.fallback_to else None,
                    cost_usd=_calc_cost(state.model, state.input_tokens, state.output_tokens),
                    cache_hit=state.cache_hit,
                    rag_hit=state.rag_hit,
                    request_id=state.request_id,
                    error=state.error[:2000] if state.error else None,
                    meta=json.loads(_safe_meta_json(state.meta)),
                )
            )
            session.commit()
        except Exception:
            session.rollback()
            raise
        finally:
            session.close()
        _record_success()
    except Exception as error:
        logger.warning("[AICallLogger] write failed: %s", error)
        _record_failure()


def _async_write(state):
    if _is_killed():
        logger.info(
            "[AICall|killed] caller=%s provider=%s model=%s status=%s tokens=%s/%s duration=%sms",
            state.caller, state.provider, state.model, state.status, state.input_tokens, state.output_tokens, state.duration_ms,
        )  # fmt: skip
        return
    threading.Thread(target=_write_to_db, args=(state,), daemon=True, name="ai-call-write").start()


@contextlib.contextmanager
def log_ai_call(caller, provider, model, request_id=None, meta=None):
    with contextlib.suppress(ImportError):
        from services.llm_caller_registry import assert_known_caller

        assert_known_caller(caller)
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
            _async_write(state)


def _auto_extract_tokens(ctx, result):
    if not isinstance(result, dict):
        return
    usage = result.get("usage")
    if isinstance(usage, dict):
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

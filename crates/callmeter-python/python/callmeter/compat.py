"""Stands in for ``services/ai_call_logger.py``: its names, its ways to be patched, its log lines.

A file that was imported by that path may be kept as two lines::

    import sys, callmeter.compat

    sys.modules[__name__] = callmeter.compat

Importing this module chooses the setting ``compat = "ai_call_logger"``. Its functions are looked up when they are called:
what a test puts in the place of one is called instead. While any of them is patched, calls of this process take that
module's way (``_async_write``, ``_write_to_db``) and are written when they end; else they are recorded as ever.
"""

from __future__ import annotations

import json
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from callmeter import _decorate, _native, _runtime
from callmeter._native import CallState, log_ai_call

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COST_TABLE", "log_ai_call", "logged_ai_call"]

logger = logging.getLogger("services.ai_call_logger")

logged_ai_call = _decorate.logged_ai_call
_CallState = CallState

_MAX_CONSECUTIVE_FAILURES = 10
_failure_state: dict[str, Any] = {"count": 0, "killed": False}


class _CostTable(dict[str, tuple[float, float]]):
    """A table of prices that says when it was changed."""

    def _noted(name: str) -> Any:  # type: ignore[misc]  # noqa: N805 - runs in the class body, makes its methods
        change = getattr(dict, name)

        def changed(self: _CostTable, *args: Any, **kwargs: Any) -> Any:
            try:
                return change(self, *args, **kwargs)
            finally:
                _look_for_patches()

        changed.__name__ = name
        return changed

    for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
        locals()[_name] = _noted(_name)
    del _name, _noted


#: USD for a million tokens, in and out.
_PRICES: dict[str, tuple[float, float]] = {
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
COST_TABLE: dict[str, tuple[float, float]] = _CostTable(_PRICES)
_FREE_PREFIXES = ("meta/", "nvidia/", "deepseek-")
_MOST_USD = 9999.999999


def _calc_cost(model: str, input_tokens: Any, output_tokens: Any) -> float:
    """What a call costs, in USD: rounded to six decimals, at most 9999.999999. A model without a price costs 0."""
    try:
        rates = COST_TABLE.get(model)
        if rates is None:
            if not str(model).startswith(_FREE_PREFIXES):
                logger.warning("[AICallLogger] unknown model %r: its calls count as 0 USD", model)
            return 0.0
        price_in, price_out = rates.values() if isinstance(rates, dict) else rates
        tokens_in, tokens_out = max(0, int(input_tokens or 0)), max(0, int(output_tokens or 0))
        cost = (tokens_in * float(price_in) + tokens_out * float(price_out)) / 1_000_000
        return min(round(cost, 6), _MOST_USD)
    except Exception:  # noqa: BLE001 - a table of the host's, with rates that are none
        return 0.0


def _safe_meta_json(meta: Any) -> str:
    """Meta as JSON: non-ASCII kept, what JSON cannot hold as its text, ``{}`` when all fails."""
    try:
        return json.dumps(meta or {}, ensure_ascii=False, default=str)
    except Exception:  # noqa: BLE001 - any object may be in it
        return "{}"


_auto_extract_tokens = _decorate.auto_extract_tokens


def _is_logging_enabled() -> bool:
    """The kill switch, read anew at each call."""
    return _native.is_on_by_env()


def _is_killed() -> bool:
    """Whether so many writes failed in a row that calls become log lines."""
    return bool(_failure_state.get("killed"))


def _record_failure() -> None:
    """Counts a failed write."""
    _failure_state["count"] = int(_failure_state.get("count", 0)) + 1
    if _failure_state["count"] >= _MAX_CONSECUTIVE_FAILURES and not _is_killed():
        _failure_state["killed"] = True
        _look_for_patches()
        logger.error(
            "[AICallLogger] %d writes failed in a row; calls become log lines until one succeeds",
            _failure_state["count"],
        )


def _record_success() -> None:
    """A write succeeded: the count begins anew."""
    _reset_kill_switch()


def _reset_kill_switch() -> None:
    """Forgets the failures."""
    _failure_state.update(count=0, killed=False)
    _look_for_patches()


def _write_to_db(state: Any) -> None:
    """Records a state as a call that ends now."""
    if _safe_meta_json is not _OWN["_safe_meta_json"]:
        state.meta = json.loads(_safe_meta_json(state.meta))
    _native.record(state)


def _async_write(state: Any) -> None:
    """Writes a state, and counts whether that went well."""
    try:
        _write_to_db(state)
    except Exception as error:  # noqa: BLE001 - telemetry raises nothing
        logger.warning("[AICallLogger] a call could not be written: %s", type(error).__name__)
        _record_failure()
    else:
        _record_success()


def _make_state(caller: Any, provider: Any, model: Any, request_id: Any, meta: Mapping[str, Any] | None) -> Any:
    """The state of a call while something is patched."""
    return _CallState(caller, provider, model, request_id, meta)


def _cost_of(state: Any) -> Any:
    """What a call that is over costs, for a host that reads it off the state."""
    return _calc_cost(state.model, state.input_tokens, state.output_tokens)


def _put_cost(state: Any) -> None:
    """What the call costs by a table or a function that the host changed."""
    state.cost_usd = _cost_of(state)


def _finish(state: Any) -> None:
    """The end of a call that began while something was patched."""
    if not _is_logging_enabled():
        return
    if _is_killed():
        logger.info(
            "[AICall|killed] caller=%s provider=%s model=%s status=%s tokens=%s/%s duration=%sms",
            state.caller,
            state.provider,
            state.model,
            state.status,
            state.input_tokens,
            state.output_tokens,
            state.duration_ms,
        )
        return
    if _async_write is not _OWN["_async_write"] or _write_to_db is not _OWN["_write_to_db"]:
        # Whoever looks at the state instead of the row finds the cost in it.
        _put_cost(state)
    _async_write(state)


#: What may be patched, as it is when it is not.
_OWN: dict[str, Any] = {
    name: globals()[name]
    for name in (
        "_CallState",
        "_async_write",
        "_calc_cost",
        "_failure_state",
        "_is_killed",
        "_is_logging_enabled",
        "_record_failure",
        "_record_success",
        "_safe_meta_json",
        "_write_to_db",
    )
}


def _look_for_patches() -> None:
    """Tells the calls of this process whether, and how, they go by way of this module."""
    now = globals()
    is_patched = any(now.get(name) is not own for name, own in _OWN.items() if name != "_calc_cost")
    is_costed = now.get("_calc_cost") is not _OWN["_calc_cost"] or dict(COST_TABLE) != _PRICES
    _native.set_hooks(is_patched or bool(_failure_state.get("killed")), is_costed)


class _Compat(ModuleType):
    """A module that notices when a name of it is patched."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in _OWN or name == "COST_TABLE":
            _look_for_patches()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in _OWN or name == "COST_TABLE":
            _look_for_patches()


sys.modules[__name__].__class__ = _Compat
_runtime.turn_compat_on("import callmeter.compat")

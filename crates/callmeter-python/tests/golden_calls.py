"""The calls of the golden table, made of the replaced module or of what stands in for it, here or in a host's process.

``golden.json`` has what differs from a call of which nothing is said: how it is made (``call``, ``do``, ``raise``, …), what the
replaced module wrote (``old``), and what is written now where that differs (``new``; ``table`` in ``ai_calls``, ``record`` in
callmeter's own row alone; ``seen``: attributes that look otherwise to the host), with the reason. ``null`` for a row is no row; ``{"python": …}`` is what the expression gives.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import datetime
import decimal
import hashlib
import json
import math
import os
import pathlib
from typing import Any

Case = dict[str, Any]
Row = dict[str, Any]

_CALL = {"caller": "hermes_analyst", "provider": "gcp_ollama", "model": "hermes3:latest"}
#: The row of a call of which nothing is said.
_ROW: Row = {
    **_CALL,
    "input_tokens": 0,
    "output_tokens": 0,
    "status": "ok",
    "fallback_to": None,
    "cost_usd": "0.000000",
    "cache_hit": False,
    "rag_hit": False,
    "request_id": None,
    "error": None,
    "meta": {},
}
COLUMNS = list(_ROW)
#: What a column says where nobody said anything, which callmeter's own row does not have.
_UNKNOWN: Row = {"input_tokens": 0, "output_tokens": 0, "cache_hit": False, "rag_hit": False, "meta": {}}
_NAMES = {"asyncio": asyncio, "datetime": datetime, "decimal": decimal, "hashlib": hashlib, "math": math}
_SWITCH = "AI_CALL_LOGGING_ENABLED"


def _value(given: Any) -> Any:
    if isinstance(given, dict):
        if set(given) == {"python"}:
            return eval(given["python"], dict(_NAMES))
        return {name: _value(value) for name, value in given.items()}
    return [_value(item) for item in given] if isinstance(given, list) else given


CASES: list[Case] = [_value(case) for case in json.loads((pathlib.Path(__file__).parent / "golden.json").read_text())]


def old_row(case: Case) -> Row | None:
    """What the replaced module wrote."""
    said = case.get("old", {})
    return None if said is None else {**_ROW, **said}


def table_row(case: Case) -> Row | None:
    """What ``ai_calls`` gets now."""
    if not has_row(case):
        return None
    return {**_ROW, **(case.get("old") or {}), **case.get("new", {}), **case.get("table", {})}


def own_row(case: Case) -> Row | None:
    """What callmeter's own row says now."""
    if not has_row(case):
        return None
    row = {**_ROW, **(case.get("old") or {}), **case.get("new", {})}
    known = {name: None if _UNKNOWN.get(name, ...) == value else value for name, value in row.items()}
    return {**known, **case.get("record", {})}


def has_row(case: Case) -> bool:
    """Whether the call is a row now."""
    return case.get("old", {}) is not None or "new" in case


def _exception(case: Case) -> BaseException | None:
    if "raise" not in case:
        return None
    name, text = case["raise"]
    kind = asyncio.CancelledError if name == "asyncio.CancelledError" else getattr(builtins, name)
    made: BaseException = kind(text) if text else kind()
    return made


@contextlib.contextmanager
def _switched(case: Case) -> Any:
    """The environment of the call."""
    before = os.environ.pop(_SWITCH, None)
    if "switch" in case:
        os.environ[_SWITCH] = case["switch"]
    try:
        yield
    finally:
        os.environ.pop(_SWITCH, None)
        if before is not None:
            os.environ[_SWITCH] = before


def make_call(module: Any, case: Case) -> Any:
    """Makes the call of a case, whose exception passes unchanged; the call's state, where the host saw it."""
    error = _exception(case)
    with _switched(case):
        try:
            return _WAYS[case.get("way", "with")](module, case, {**_CALL, **case.get("call", {})}, error)
        except BaseException as caught:
            if caught is not error:
                raise
            return getattr(error, "state", None)


def _with(module: Any, case: Case, names: Row, error: BaseException | None) -> Any:
    with module.log_ai_call(**names) as state:
        for step, *arguments in case.get("do", []):
            if step.startswith("="):
                setattr(state, step[1:], arguments[0])
            else:
                getattr(state, step)(*arguments)
        if error:
            error.state = state  # type: ignore[attr-defined]
            raise error
    return state


def _function(case: Case, error: BaseException | None) -> Any:
    def function(*arguments: Any) -> Any:
        if error:
            raise error
        return case.get("result")

    return function


def _log_ai_call(module: Any, case: Case, names: Row, error: BaseException | None) -> None:
    module.log_ai_call(**names)(_function(case, error))()


def _logged_ai_call(module: Any, case: Case, names: Row, error: BaseException | None) -> None:
    extractor = eval(case["extractor"]) if "extractor" in case else None
    decorated = module.logged_ai_call(**names, model_extractor=extractor)(_function(case, error))
    assert decorated(*case.get("arguments", [])) == case.get("result")


_WAYS = {"with": _with, "log_ai_call": _log_ai_call, "logged_ai_call": _logged_ai_call}

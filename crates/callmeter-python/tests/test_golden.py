"""The golden table: what the replaced module wrote, and what is written in its place, case by case, with the reason."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import json
import pathlib
from typing import Any

import pytest

import ai_call_logger_reference as old
import callmeter.compat

CASES = json.loads((pathlib.Path(__file__).parent / "golden.json").read_text())
ATTRIBUTES = [
    "caller",
    "provider",
    "model",
    "request_id",
    "input_tokens",
    "output_tokens",
    "status",
    "fallback_to",
    "cost_usd",
    "cache_hit",
    "rag_hit",
    "error",
    "meta",
]


def exception(case: dict[str, Any]) -> BaseException | None:
    if "raise" not in case:
        return None
    name, text = case["raise"]
    kind = asyncio.CancelledError if name == "asyncio.CancelledError" else getattr(builtins, name)
    made: BaseException = kind(text) if text else kind()
    return made


def make_call(module: Any, case: dict[str, Any]) -> Any:
    """Makes the call of a case; its state afterwards."""
    error = exception(case)
    raises = pytest.raises(type(error)) if error else contextlib.nullcontext()
    with raises, module.log_ai_call("hermes_analyst", "gcp_ollama", "hermes3:latest") as state:
        for step, *arguments in case["do"]:
            if step.startswith("="):
                setattr(state, step[1:], arguments[0])
            else:
                getattr(state, step)(*arguments)
        if error:
            raise error
    return state


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_call_is_written_as_the_table_says(callmeter_calls: list[dict[str, Any]], case: dict[str, Any]) -> None:
    old.written.clear()
    before, after = make_call(old, case), make_call(callmeter.compat, case)
    (row,) = old.written
    assert row.items() >= case["old"].items()

    (call,) = callmeter_calls
    found = {name: call.get("model", call["model_requested"]) if name == "model" else call.get(name) for name in row}
    expected = {**case["old"], **case.get("new", {})}
    assert {name: found[name] for name in expected} == expected
    assert bool(case.get("why")) == ("new" in case), "each difference has its reason, and each reason its difference"

    # What the host itself sees did not change, but for the outcomes that were wrong.
    seen = {name: getattr(after, name) for name in ATTRIBUTES}
    if found["status"] == row["status"]:
        assert seen == {name: getattr(before, name) for name in ATTRIBUTES}
    assert type(after.duration_ms) is int


@pytest.mark.parametrize(
    "result",
    [
        {"usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        {"usage": {"input_tokens": 3, "output_tokens": 0}},
        {"prompt_eval_count": 5},
        {"usage": None, "eval_count": 6},
        {"usage": {"prompt_tokens": "x"}},
        {"usage": {"prompt_tokens": 0, "input_tokens": 7, "completion_tokens": 0}},
        {},
        None,
        [("usage", 1)],
    ],
)
def test_the_decorator_reads_the_same_tokens(callmeter_calls: list[dict[str, Any]], result: Any) -> None:
    old.written.clear()
    for module in (old, callmeter.compat):
        assert module.logged_ai_call("c", "p", "m")(lambda: result)() is result
    (call,) = callmeter_calls
    tokens = [call.get("input_tokens") or 0, call.get("output_tokens") or 0]
    assert tokens == [old.written[0]["input_tokens"], old.written[0]["output_tokens"]]


@pytest.mark.parametrize("model", [*old.COST_TABLE, "unheard of"])
@pytest.mark.parametrize("tokens", [(0, 0), (1, 1), (333_333, 777), (-4, 9), (10**13, 10**13)])
def test_costs_are_the_same(model: str, tokens: tuple[int, int]) -> None:
    assert callmeter.compat._calc_cost(model, *tokens) == old._calc_cost(model, *tokens)

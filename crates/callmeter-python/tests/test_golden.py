"""The golden table: what the replaced module wrote, and what is written in its place, case by case, with the reason."""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

import callmeter.compat
from golden_calls import CASES, COLUMNS, Case, has_row, make_call, own_row

_FILE = pathlib.Path(__file__).parent / "app/services/ai_call_logger.py"
#: What only a store knows.
_OF_THE_STORE = {"cost_usd"}
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


def replaced_module() -> Any:
    """The replaced module, from its file: where it would be imported from, something else stands in other tests."""
    spec = importlib.util.spec_from_file_location("replaced_ai_call_logger", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


old = replaced_module()


@pytest.fixture
def written() -> Iterator[list[Any]]:
    """The states that the replaced module would have written."""
    states: list[Any] = []
    with mock.patch.object(old, "_async_write", states.append):
        yield states


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_call_is_recorded_as_the_table_says_and_looks_to_its_host_as_it_did(
    callmeter_calls: list[dict[str, Any]], written: list[Any], case: Case
) -> None:
    make_call(old, case)
    after = make_call(callmeter.compat, case)
    expected = own_row(case)
    if expected is None:
        assert (len(written), len(callmeter_calls)) == (0, 0)
        return
    (before,) = written
    (call,) = callmeter_calls
    found = {name: call.get(name) for name in COLUMNS}
    found["model"] = call.get("model", call["model_requested"])
    assert {name: found[name] for name in COLUMNS if name not in _OF_THE_STORE} == {
        name: expected[name] for name in COLUMNS if name not in _OF_THE_STORE
    }
    # What the host itself sees did not change, but for the outcomes that were wrong.
    if after is not None and expected["status"] != "cancelled":
        for name in ATTRIBUTES:
            is_same = repr(getattr(after, name)) == repr(getattr(before, name))
            assert is_same != (name in case.get("seen", [])), name
        assert type(after.duration_ms) is int


def test_each_difference_of_the_table_has_its_reason() -> None:
    assert len({case["case"] for case in CASES}) == len(CASES)
    for case in CASES:
        differs = bool({"new", "table", "record", "seen"} & set(case)) and has_row(case)
        assert differs == bool(case.get("why")), case["case"]


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
def test_the_decorator_reads_the_same_tokens(
    callmeter_calls: list[dict[str, Any]], written: list[Any], result: Any
) -> None:
    for module in (old, callmeter.compat):
        assert module.logged_ai_call("c", "p", "m")(lambda: result)() is result
    (call,) = callmeter_calls
    tokens = [call.get("input_tokens") or 0, call.get("output_tokens") or 0]
    assert tokens == [written[0].input_tokens, written[0].output_tokens]


@pytest.mark.parametrize("model", [*old.COST_TABLE, "unheard of"])
@pytest.mark.parametrize("tokens", [(0, 0), (1, 1), (333_333, 777), (-4, 9), (10**13, 10**13)])
def test_costs_are_the_same(model: str, tokens: tuple[int, int]) -> None:
    assert callmeter.compat._calc_cost(model, *tokens) == old._calc_cost(model, *tokens)

"""The state of a call: attributes and methods as the replaced module has them, and whatever they are given."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

import callmeter
from callmeter import CallState, log_ai_call

ATTRIBUTES = [
    "caller",
    "provider",
    "model",
    "request_id",
    "input_tokens",
    "output_tokens",
    "duration_ms",
    "status",
    "fallback_to",
    "cost_usd",
    "cache_hit",
    "rag_hit",
    "error",
    "meta",
]


def test_a_new_state_has_the_attributes_of_the_replaced_module() -> None:
    state = CallState("c", "p", "m", "r", {"a": 1})
    assert [getattr(state, name) for name in ATTRIBUTES] == [
        "c", "p", "m", "r", 0, 0, None, None, None, 0.0, False, False, None, {"a": 1},
    ]  # fmt: skip


def test_arguments_have_the_contract_s_names_and_order() -> None:
    state = log_ai_call(caller="c", provider="p", model="m", request_id="r", meta={"a": 1})
    assert (state.caller, state.request_id, state.meta) == ("c", "r", {"a": 1})
    state = log_ai_call("c", "p", "m", "r", {"b": 2})
    assert (state.request_id, state.meta) == ("r", {"b": 2})


def test_meta_is_copied_and_the_state_s_own_can_be_changed() -> None:
    given = {"a": 1}
    state = CallState("c", "p", "m", meta=given)
    state.add_meta("b", 2)
    state.meta["c"] = 3
    assert given == {"a": 1}
    assert state.meta == {"a": 1, "b": 2, "c": 3}
    state.add_meta("", "nothing")
    assert "" not in state.meta


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (7, 7), (None, 0), ("12", 12), ("many", 0), (3.9, 3), (math.nan, 0), (math.inf, 0), (True, 1), (-5, -5),
        (Decimal(8), 8), (object(), 0), ([], 0), (3_000_000_000, 3_000_000_000), (10**30, 10**30),
    ],
)  # fmt: skip
def test_tokens_are_integers_and_what_is_no_number_is_0(given: object, seen: int) -> None:
    state = CallState("c", "p", "m")
    state.set_tokens(given, given)  # type: ignore[arg-type]
    assert (state.input_tokens, state.output_tokens) == (seen, seen)
    state.set_tokens(output=1)
    assert (state.input_tokens, state.output_tokens) == (0, 1)


def test_texts_are_cut_and_falsy_ones_ignored() -> None:
    state = CallState("c", "p", "m")
    state.set_provider("é" * 40)
    state.set_model("m" * 200)
    state.set_provider("")
    state.set_model(None)
    assert state.provider == "é" * 32
    assert state.model == "m" * 128
    state.set_status("s" * 20)
    assert state.status == "s" * 16
    state.set_error("e" * 3000)
    assert (state.status, state.error) == ("error", "e" * 2000)
    state.fallback_to_target("t" * 70)
    assert (state.status, state.fallback_to) == ("fallback", "t" * 64)


def test_flags_are_booleans_and_default_to_true() -> None:
    state = CallState("c", "p", "m")
    state.set_cache_hit()
    state.set_rag_hit(0)  # type: ignore[arg-type]
    assert (state.cache_hit, state.rag_hit) == (True, False)
    state.cache_hit = []  # type: ignore[assignment]
    state.set_rag_hit("yes")  # type: ignore[arg-type]
    assert (state.cache_hit, state.rag_hit) == (False, True)


class Hostile:
    """An object that answers nothing."""

    def __str__(self) -> str:
        raise ValueError("no text")

    def __bool__(self) -> bool:
        raise ValueError("no truth")

    def __int__(self) -> int:
        raise ValueError("no number")

    def __iter__(self) -> object:
        raise ValueError("no items")


@pytest.mark.parametrize(
    "method",
    [
        "set_tokens",
        "set_provider",
        "set_model",
        "set_cache_hit",
        "set_rag_hit",
        "fallback_to_caller",
        "set_error",
        "set_status",
        "set_prompt_hash",
    ],
)
def test_no_setter_raises_whatever_it_is_given(method: str) -> None:
    state = CallState("c", "p", "m")
    for value in (Hostile(), None, "\ud800", "\x00", b"bytes", 1.5, {}, object):
        getattr(state, method)(value)


def test_a_hostile_call_is_one_row(callmeter_calls: list[dict[str, object]]) -> None:
    hostile = Hostile()
    with log_ai_call(hostile, hostile, hostile, hostile, hostile) as state:  # type: ignore[arg-type]
        state.input_tokens = hostile  # type: ignore[assignment]
        state.status = hostile  # type: ignore[assignment]
        state.cost_usd = hostile  # type: ignore[assignment]
        state.add_meta(hostile, hostile)  # type: ignore[arg-type]
        state.meta["in itself"] = state.meta
    (call,) = callmeter_calls
    assert (call["caller"], call["provider"]) == ("unknown", "unknown")


def test_attributes_that_are_assigned_count(callmeter_calls: list[dict[str, object]]) -> None:
    with log_ai_call("c", "p", "m") as state:
        state.provider, state.model, state.request_id = "p2", "m2", "r"
        state.input_tokens, state.output_tokens = 5, 6
        state.status, state.fallback_to, state.cache_hit = "partial", "other", True
        state.cost_usd = 0.25
        state.meta = {"k": "v"}
    (call,) = callmeter_calls
    assert call.items() >= {
        "caller": "c", "provider": "p2", "model": "m2", "model_requested": "m", "request_id": "r", "input_tokens": 5,
        "output_tokens": 6, "status": "partial", "fallback_to": "other", "cache_hit": True, "meta": {"k": "v"},
        "reported_cost_usd": "0.25",
    }.items()  # fmt: skip


def test_what_was_never_said_is_unknown_and_0_that_was_said_is_0(callmeter_calls: list[dict[str, object]]) -> None:
    with log_ai_call("silent", "p", "m"):
        pass
    with log_ai_call("said", "p", "m") as state:
        state.set_tokens(input=0, output=None)
        state.set_cache_hit(False)
    silent, said = callmeter_calls
    assert "input_tokens" not in silent
    assert "cache_hit" not in silent
    assert said["input_tokens"] == 0
    assert "output_tokens" not in said
    assert said["cache_hit"] is False


def test_the_row_has_the_call_s_id_and_place(callmeter_calls: list[dict[str, object]]) -> None:
    with log_ai_call("c", "p", "m") as state:
        call_id = state.call_id
    assert state.call_id is None
    (call,) = callmeter_calls
    assert call["call_id"] == call_id
    assert str(call["call_site"]).startswith("test_state.py:")
    assert str(call["sdk"]) == f"callmeter-python/{callmeter.__version__}"


def test_states_can_be_entered_again_and_within_themselves(callmeter_calls: list[dict[str, object]]) -> None:
    state = log_ai_call("c", "p", "m")
    with state, state:
        pass
    with state:
        pass
    assert len(callmeter_calls) == 2


def test_a_state_that_is_never_left_is_an_unfinished_call(callmeter_calls: list[dict[str, object]]) -> None:
    log_ai_call("left", "p", "m").__enter__()
    (call,) = callmeter_calls
    assert (call["status"], call["error_kind"]) == ("error", "unfinished")


def test_a_state_is_no_call_until_it_is_entered(callmeter_calls: list[dict[str, object]]) -> None:
    log_ai_call("c", "p", "m").set_tokens(1, 2)
    assert len(callmeter_calls) == 0

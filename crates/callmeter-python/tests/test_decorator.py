"""Decorated functions: plain, async, generators, async generators; what they return and how they look is unchanged."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

from callmeter import log_ai_call, logged_ai_call

OLLAMA = {"prompt_eval_count": 5, "eval_count": 6}
Calls = list[dict[str, Any]]


@pytest.mark.parametrize(
    ("result", "tokens"),
    [
        ({"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, (1, 2)),
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4)),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": 7}}, (0, 7)),
        (OLLAMA, (5, 6)),
        ({"usage": {}, **OLLAMA}, (5, 6)),
        ({"usage": "none", **OLLAMA}, (5, 6)),
        ({"usage": {"prompt_tokens": "many", "completion_tokens": 7}}, (None, 7)),
        ({"answer": 42}, (None, None)),
        ("text", (None, None)),
        (None, (None, None)),
    ],
)
def test_tokens_are_read_from_a_dictionary(
    callmeter_calls: Calls, result: object, tokens: tuple[int | None, int | None]
) -> None:
    @logged_ai_call("c", "p", "m")
    def ask() -> object:
        return result

    assert ask() is result
    (call,) = callmeter_calls
    assert (call.get("input_tokens"), call.get("output_tokens")) == tokens


def test_the_extractor_names_the_model_and_may_fail(callmeter_calls: Calls) -> None:
    @logged_ai_call("c", "p", "fallback model", model_extractor=lambda args, kwargs: kwargs["model"])
    def ask(**kwargs: object) -> None:
        return None

    @logged_ai_call("c", "p", model_extractor=lambda args, kwargs: args[7])
    def ask_unknown() -> None:
        return None

    ask(model="asked")
    ask()
    ask_unknown()
    assert [call["model_requested"] for call in callmeter_calls] == ["asked", "fallback model", "unknown"]


def plain(x: int) -> dict[str, int]:
    """Doc."""
    return {"eval_count": x}


async def coroutine(x: int) -> dict[str, int]:
    """Doc."""
    await asyncio.sleep(0)
    return {"eval_count": x}


def generator(x: int) -> Generator[dict[str, int], None, str]:
    """Doc."""
    yield {"part": x}
    yield {"eval_count": x}
    return "end"


async def async_generator(x: int) -> AsyncGenerator[dict[str, int], None]:
    """Doc."""
    yield {"part": x}
    await asyncio.sleep(0)
    yield {"eval_count": x}


FUNCTIONS: list[Callable[..., Any]] = [plain, coroutine, generator, async_generator]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("decorate", [logged_ai_call("c", "p", "m"), log_ai_call("c", "p", "m")])
def test_a_decorated_function_is_still_of_its_kind(function: Callable[..., Any], decorate: Any) -> None:
    wrapped = decorate(function)
    for ask in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert ask(wrapped) == ask(function)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__wrapped__) == (function.__name__, "Doc.", function)
    assert inspect.signature(wrapped) == inspect.signature(function)


def test_each_kind_is_recorded_by_what_it_does(callmeter_calls: Calls) -> None:
    decorate = logged_ai_call("c", "p", "m")
    assert decorate(plain)(1) == {"eval_count": 1}
    assert asyncio.run(decorate(coroutine)(2)) == {"eval_count": 2}
    assert [*decorate(generator)(3)] == [{"part": 3}, {"eval_count": 3}]

    async def collect() -> list[dict[str, int]]:
        return [item async for item in decorate(async_generator)(4)]

    assert asyncio.run(collect()) == [{"part": 4}, {"eval_count": 4}]
    assert [call["output_tokens"] for call in callmeter_calls] == [1, 2, 3, 4]
    assert [call["status"] for call in callmeter_calls] == ["ok"] * 4
    assert [call.get("stream_complete") for call in callmeter_calls] == [None, None, True, True]
    assert all("ttft_us" in call for call in callmeter_calls[2:])
    assert all(str(call["call_site"]).startswith("test_decorator.py:") for call in callmeter_calls)


def test_the_state_of_a_decorator_is_fresh_for_each_call(callmeter_calls: Calls) -> None:
    @log_ai_call("c", "p", "m", "r", {"k": 1})
    def ask() -> int:
        return 7

    assert [ask(), ask()] == [7, 7]
    assert [(call["request_id"], call["meta"]) for call in callmeter_calls] == [("r", {"k": 1})] * 2
    assert callmeter_calls[0]["call_id"] != callmeter_calls[1]["call_id"]


def test_a_call_begins_when_a_coroutine_runs_not_when_it_is_made(callmeter_calls: Calls) -> None:
    made = logged_ai_call("c", "p", "m")(coroutine)(1)
    assert len(callmeter_calls) == 0
    asyncio.run(made)
    assert len(callmeter_calls) == 1
    stream = logged_ai_call("c", "p", "m")(generator)(1)
    assert len(callmeter_calls) == 1
    stream.close()
    assert len(callmeter_calls) == 1


def test_a_coroutine_or_generator_that_a_plain_function_hands_out_is_the_call(callmeter_calls: Calls) -> None:
    @logged_ai_call("c", "p", "m")
    def hand_out(made: Any) -> Any:
        return made

    assert asyncio.run(hand_out(coroutine(1))) == {"eval_count": 1}
    assert len([*hand_out(generator(2))]) == 2

    async def collect() -> int:
        return len([item async for item in hand_out(async_generator(3))])

    assert asyncio.run(collect()) == 2
    assert [call["output_tokens"] for call in callmeter_calls] == [1, 2, 3]


def test_a_stream_passes_on_what_is_sent_and_thrown_and_returned(callmeter_calls: Calls) -> None:
    @logged_ai_call("c", "p", "m")
    def echo() -> Generator[object, object, str]:
        heard = yield "ready"
        while heard != "stop":
            try:
                heard = yield heard
            except KeyError as error:
                heard = yield f"caught {error}"
        return "the end"

    stream = echo()
    assert next(stream) == "ready"
    assert stream.send("one") == "one"
    assert stream.throw(KeyError("k")) == "caught 'k'"
    with pytest.raises(StopIteration) as stop:
        stream.send("stop")
    assert stop.value.value == "the end"
    assert callmeter_calls[0]["status"] == "ok"


def test_an_async_stream_passes_on_what_is_sent_and_thrown(callmeter_calls: Calls) -> None:
    @logged_ai_call("c", "p", "m")
    async def echo() -> AsyncGenerator[object, object]:
        heard = yield "ready"
        while heard != "stop":
            try:
                heard = yield heard
            except KeyError as error:
                heard = yield f"caught {error}"

    async def talk() -> list[object]:
        stream = echo()
        heard = [await stream.asend(None), await stream.asend("one"), await stream.athrow(KeyError("k"))]
        with pytest.raises(StopAsyncIteration):
            await stream.asend("stop")
        return heard

    assert asyncio.run(talk()) == ["ready", "one", "caught 'k'"]
    assert callmeter_calls[0]["status"] == "ok"


def test_a_stream_that_fails_is_an_error(callmeter_calls: Calls) -> None:
    @logged_ai_call("c", "p", "m")
    def fail() -> Generator[int, None, None]:
        yield 1
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        [*fail()]
    (call,) = callmeter_calls
    assert (call["status"], call["error_kind"], "ttft_us" in call) == ("error", "network", True)


@pytest.mark.parametrize("way", ["closed", "abandoned"])
def test_a_stream_that_is_left_midway_is_cancelled(callmeter_calls: Calls, way: str) -> None:
    closed: list[bool] = []

    @logged_ai_call("c", "p", "m")
    def tokens() -> Generator[dict[str, int], None, None]:
        try:
            yield {"eval_count": 3}
            yield {}
        finally:
            closed.append(True)

    stream = tokens()
    next(stream)
    if way == "closed":
        stream.close()
    del stream
    gc.collect()
    assert closed == [True]
    (call,) = callmeter_calls
    assert (call["status"], call["stream_complete"], call["output_tokens"]) == ("cancelled", False, 3)


@pytest.mark.parametrize("way", ["closed", "abandoned"])
def test_an_async_stream_that_is_left_midway_is_cancelled(callmeter_calls: Calls, way: str) -> None:
    @logged_ai_call("c", "p", "m")
    async def tokens() -> AsyncGenerator[dict[str, int], None]:
        yield {"eval_count": 3}
        yield {}

    async def leave() -> None:
        stream = tokens()
        await stream.__anext__()
        if way == "closed":
            await stream.aclose()

    asyncio.run(leave())
    gc.collect()
    (call,) = callmeter_calls
    assert (call["status"], call["stream_complete"], call["output_tokens"]) == ("cancelled", False, 3)


def test_methods_and_static_methods_can_be_decorated(callmeter_calls: Calls) -> None:
    class Client:
        @logged_ai_call("c", "p", "m")
        def ask(self) -> object:
            return self

        @staticmethod
        @logged_ai_call("c", "p", "m")
        def ask_statically() -> int:
            return 1

    client = Client()
    assert client.ask() is client
    assert Client.ask_statically() == 1
    assert len(callmeter_calls) == 2

"""How a call ends: normally, by an exception of any kind, by cancellation."""

from __future__ import annotations

import asyncio
import concurrent.futures

import pytest
from callmeter import log_ai_call


def end_by(error: BaseException) -> None:
    with log_ai_call("c", "p", "m") as state:
        state.fallback_to_caller("other")
        raise error


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ValueError("boom"), "error", "other"),
        (TimeoutError(), "error", "timeout"),
        (ConnectionResetError("reset"), "error", "network"),
        (KeyboardInterrupt(), "cancelled", "cancelled"),
        (SystemExit(0), "cancelled", "cancelled"),
        (SystemExit(3), "cancelled", "cancelled"),
        (GeneratorExit(), "cancelled", "cancelled"),
        (asyncio.CancelledError(), "cancelled", "cancelled"),
        (concurrent.futures.CancelledError(), "cancelled", "cancelled"),
        (BaseException("bare"), "error", "other"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_exception_ends_the_call_and_goes_on_unchanged(
    callmeter_calls: list[dict[str, object]], error: BaseException, status: str, kind: str
) -> None:
    with pytest.raises(type(error)) as raised:
        end_by(error)
    assert raised.value is error
    (call,) = callmeter_calls
    assert (call["status"], call["error_kind"]) == (status, kind)


def test_the_attributes_tell_of_the_exception() -> None:
    with pytest.raises(ValueError, match="boom"), log_ai_call("c", "p", "m") as state:
        raise ValueError("boom")
    assert (state.status, state.error) == ("error", "ValueError: boom")
    with pytest.raises(ValueError, match="x"), log_ai_call("c", "p", "m") as state:
        raise ValueError("x" * 5000)
    assert state.error == "ValueError: " + "x" * 1500
    with pytest.raises(ValueError, match="boom"), log_ai_call("c", "p", "m") as state:
        state.set_error("mine")
        raise ValueError("boom")
    assert (state.status, state.error) == ("error", "mine")


def test_without_a_word_it_is_ok_and_has_a_duration() -> None:
    with log_ai_call("c", "p", "m") as state:
        assert state.duration_ms is None
        assert state.status is None
    assert state.status == "ok"
    assert isinstance(state.duration_ms, int)


class ApiError(Exception):
    """As the clients of providers raise them."""

    def __init__(self, status_code: int, code: object = None) -> None:
        super().__init__("the text may quote a prompt")
        self.status_code, self.code = status_code, code


class RateLimitError(ApiError):
    """Known by its name."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError(503), {"error_kind": "overloaded", "http_status": 503}),
        (
            ApiError(401, "invalid_api_key"),
            {"error_kind": "auth", "http_status": 401, "error_detail": "invalid_api_key"},
        ),
        (RateLimitError(0), {"error_kind": "rate_limit"}),
        (RateLimitError(429, "a sentence is no code"), {"error_kind": "rate_limit", "http_status": 429}),
    ],
)
def test_status_and_code_of_a_client_s_exception_are_kept(
    callmeter_calls: list[dict[str, object]], error: Exception, expected: dict[str, object]
) -> None:
    with pytest.raises(ApiError), log_ai_call("c", "p", "m"):
        raise error
    (call,) = callmeter_calls
    assert call.items() >= expected.items()
    assert "quote a prompt" not in str(call)
    assert "a sentence" not in str(call)


class Mute(Exception):
    """An exception that answers no question."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


def test_an_exception_that_cannot_be_asked_is_recorded_and_goes_on(callmeter_calls: list[dict[str, object]]) -> None:
    with pytest.raises(Mute), log_ai_call("c", "p", "m"):
        raise Mute
    (call,) = callmeter_calls
    assert call["status"] == "error"


def test_async_with_records_the_awaited_block(callmeter_calls: list[dict[str, object]]) -> None:
    async def ask() -> None:
        async with log_ai_call("c", "p", "m") as state:
            await asyncio.sleep(0.02)
            state.set_tokens(1, 2)

    asyncio.run(ask())
    (call,) = callmeter_calls
    assert call["status"] == "ok"
    assert int(str(call["duration_us"])) >= 20_000


@pytest.mark.parametrize("way", ["with", "async with"])
def test_a_cancelled_task_is_a_cancelled_call(callmeter_calls: list[dict[str, object]], way: str) -> None:
    async def ask() -> None:
        if way == "with":
            with log_ai_call("c", "p", "m"):
                await asyncio.Event().wait()
        else:
            async with log_ai_call("c", "p", "m"):
                await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.create_task(ask())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    (call,) = callmeter_calls
    assert (call["status"], call["error_kind"]) == ("cancelled", "cancelled")


def test_a_time_limit_is_a_cancelled_call(callmeter_calls: list[dict[str, object]]) -> None:
    async def ask() -> None:
        with log_ai_call("c", "p", "m"):
            await asyncio.Event().wait()

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(ask(), 0.01))
    assert callmeter_calls[0]["status"] == "cancelled"


def test_tasks_and_threads_make_calls_of_their_own(callmeter_calls: list[dict[str, object]]) -> None:
    async def ask(number: int) -> None:
        async with log_ai_call(f"task {number}", "p", "m") as state:
            await asyncio.sleep(0)
            state.set_tokens(number, number)

    async def ask_all() -> None:
        await asyncio.gather(*(ask(number) for number in range(50)))

    def ask_in_thread(number: int) -> None:
        with log_ai_call(f"thread {number}", "p", "m") as state:
            state.set_tokens(number, number)

    asyncio.run(ask_all())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(ask_in_thread, range(500)))
    assert len(callmeter_calls) == 550
    assert all(str(call["caller"]).split()[1] == str(call["input_tokens"]) for call in callmeter_calls)


def test_a_state_opened_in_one_thread_can_end_in_another(callmeter_calls: list[dict[str, object]]) -> None:
    state = log_ai_call("c", "p", "m").__enter__()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(state.__exit__, None, None, None).result()
    assert callmeter_calls[0]["status"] == "ok"

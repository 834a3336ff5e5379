"""Functions whose every call is recorded: plain ones, async ones, generators and async generators.

A stream is one call from its first item on: recorded when it is exhausted, closed or abandoned, with the time of the
first item. A function that hands out a coroutine or a generator that it did not make itself is recorded by those.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeVar, cast

from callmeter import _native, _place

__all__ = ["decorated", "decorated_by_state", "logged_ai_call"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_State = _native.CallState
#: Makes the state of one call from its arguments.
_Open = Callable[[tuple[Any, ...], dict[str, Any]], _State]
#: Reads what there is to read from a result.
_Read = Callable[[_State, Any], None]


def logged_ai_call(
    caller: str,
    provider: str,
    model: str | None = None,
    model_extractor: Callable[[tuple[Any, ...], dict[str, Any]], str] | None = None,
) -> Callable[[_Function], _Function]:
    """Records every call of the function; its tokens are read from a result that is a dictionary.

    ``model_extractor(args, kwargs)`` names the model; when it raises, ``model`` or ``"unknown"`` stands.
    """

    def decorate(function: _Function) -> _Function:
        site = _site_of(function)

        def open_state(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _State:
            name: Any = model
            if model_extractor is not None:
                try:
                    name = model_extractor(args, kwargs)
                except Exception:  # noqa: BLE001 - the host's extractor; its call goes on
                    name = model
            return _native.CallState(caller, provider, name or "unknown", site=site)

        return decorated(function, open_state, _read_tokens)

    return decorate


def decorated_by_state(state: _State, function: _Function) -> _Function:
    """What ``@log_ai_call(…)`` makes of a function."""
    site = _site_of(function)
    return decorated(function, lambda _args, _kwargs: state.fresh(site), _read_nothing)


def decorated(function: _Function, open_state: _Open, read: _Read) -> _Function:
    """A function that does what ``function`` does and is recorded."""
    made: Any
    if inspect.iscoroutinefunction(function):
        made = _coroutine_function(function, open_state, read)
    elif inspect.isasyncgenfunction(function):
        made = _async_generator_function(function, open_state, read)
    elif inspect.isgeneratorfunction(function):
        made = _generator_function(function, open_state, read)
    else:
        made = _function(function, open_state, read)
    return cast("_Function", functools.wraps(function)(made))


def _function(function: Callable[..., Any], open_state: _Open, read: _Read) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        state = open_state(args, kwargs)
        state.__enter__()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            state.__exit__(type(error), error, None)
            raise
        kind = type(result)
        if kind is CoroutineType:
            return _awaited(state, result, read)
        if kind is GeneratorType:
            return _passed_on(state, result, read)
        if kind is AsyncGeneratorType:
            return _async_generator_function(lambda: result, lambda _args, _kwargs: state, read, is_open=True)()
        read(state, result)
        state.__exit__(None, None, None)
        return result

    return call


def _coroutine_function(function: Callable[..., Any], open_state: _Open, read: _Read) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with open_state(args, kwargs) as state:
            result = await function(*args, **kwargs)
            read(state, result)
            return result

    return call


def _generator_function(function: Callable[..., Any], open_state: _Open, read: _Read) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        state = open_state(args, kwargs)
        state.__enter__()
        return (yield from _passed_on(state, function(*args, **kwargs), read))

    return call


async def _awaited(state: _State, coroutine: Any, read: _Read) -> Any:
    """The coroutine's result, in the call that is open."""
    try:
        result = await coroutine
    except BaseException as error:
        state.__exit__(type(error), error, None)
        raise
    read(state, result)
    state.__exit__(None, None, None)
    return result


def _passed_on(state: _State, stream: Generator[Any, Any, Any], read: _Read) -> Generator[Any, Any, Any]:
    """The generator's items, in the call that is open."""
    advance: Callable[[Any], Any] = stream.send
    told: Any = None
    last: Any = None
    try:
        while True:
            try:
                item = advance(told)
            except StopIteration as stop:
                state.set_stream_complete(True)
                read(state, stop.value if isinstance(stop.value, dict) else last)
                result = stop.value
                break
            state.first_token()
            if isinstance(item, dict):
                last = item
            try:
                told = yield item
            except GeneratorExit:
                stream.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it goes on into the stream
                advance, told = stream.throw, error
            else:
                advance = stream.send
    except BaseException as error:
        state.set_stream_complete(False)
        read(state, last)
        state.__exit__(type(error), error, None)
        raise
    state.__exit__(None, None, None)
    return result


def _async_generator_function(
    function: Callable[..., Any], open_state: _Open, read: _Read, *, is_open: bool = False
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        state = open_state(args, kwargs)
        if not is_open:
            state.__enter__()
        told: Any = None
        last: Any = None
        try:
            stream = function(*args, **kwargs)
            advance: Callable[[Any], Any] = stream.asend
            while True:
                try:
                    item = await advance(told)
                except StopAsyncIteration:
                    state.set_stream_complete(True)
                    read(state, last)
                    break
                state.first_token()
                if isinstance(item, dict):
                    last = item
                try:
                    told = yield item
                except GeneratorExit:
                    await stream.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - it goes on into the stream
                    advance, told = stream.athrow, error
                else:
                    advance = stream.asend
        except BaseException as error:
            state.set_stream_complete(False)
            read(state, last)
            state.__exit__(type(error), error, None)
            raise
        state.__exit__(None, None, None)

    return call


def _read_nothing(_state: _State, _result: Any) -> None:
    return


def _read_tokens(state: _State, result: Any) -> None:
    """Reads tokens by the function that the replaced module has for it, where somebody patched that."""
    if not isinstance(result, dict):
        return
    compat = sys.modules.get("callmeter.compat")
    extract = getattr(compat, "_auto_extract_tokens", auto_extract_tokens)
    try:
        extract(state, result)
    except Exception:  # noqa: BLE001 - a patch of the host's; its call goes on
        return


def auto_extract_tokens(ctx: _State, result: Any) -> None:
    """Tells ``ctx`` the tokens of an answer: those of OpenAI's and Anthropic's ``usage``, else Ollama's counts."""
    try:
        if not isinstance(result, dict):
            return
        usage = result.get("usage")
        if isinstance(usage, dict):
            counts = (
                _either(usage.get("prompt_tokens"), usage.get("input_tokens")),
                _either(usage.get("completion_tokens"), usage.get("output_tokens")),
            )
            if counts != (None, None):
                ctx.set_tokens(*counts)
                return
        counts = (result.get("prompt_eval_count"), result.get("eval_count"))
        if counts != (None, None):
            ctx.set_tokens(*counts)
    except Exception:  # noqa: BLE001 - a result of the host's with ideas of its own
        return


def _either(count: Any, other: Any) -> Any:
    """The first that counts something; else the one that is there."""
    return count if other is None else count or other


def _site_of(function: Any) -> _native.Site | None:
    """Where the function is defined; every call of it has that place."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return None
    return _native.Site(_place.shortened(code.co_filename), code.co_firstlineno)

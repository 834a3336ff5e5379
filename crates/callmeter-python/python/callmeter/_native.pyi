"""The compiled half of the package. What stands in ``callmeter.__all__`` is its interface; the rest may change at any time."""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar, final

from typing_extensions import Self, disjoint_base

_Function = TypeVar("_Function", bound=Callable[..., Any])

__all__ = [
    "CallState",
    "Site",
    "__version__",
    "captured",
    "close",
    "close_log",
    "flush",
    "hold_back",
    "is_enabled",
    "is_on_by_env",
    "is_started",
    "log_ai_call",
    "mark_forked",
    "next_log_line",
    "open_log",
    "park",
    "query",
    "record",
    "resume",
    "run_command",
    "set_compat",
    "set_enabled",
    "set_hooks",
    "set_registry",
    "settings",
    "start",
    "start_capture",
    "stats",
]

_Flag = tuple[str, str, str, bool]

__version__: str

def log_ai_call(
    caller: str,
    provider: str,
    model: str,
    request_id: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> CallState:
    """One call of a model; ``with``, or ``async with``, records it, and so does ``@log_ai_call(…)`` on a function.

    ``caller`` says who calls, ``provider`` and ``model`` who is asked; the state that ``with`` yields is told what happens.
    Whatever way the block ends makes one row: ``ok`` or the status that was set; ``error`` by an exception, which goes on
    to the host unchanged; ``cancelled`` when a task, Ctrl-C or the end of the process ended it.

    ``meta`` is copied. Nothing here waits for a disk or a network, and nothing raises.
    """
@disjoint_base
class CallState:
    """What is known of one call. Attributes may be read and assigned; methods bound and check what they are given."""

    caller: str
    """Who calls; at most 64 characters, ``unknown`` where it is empty."""
    provider: str
    """The provider that really answered; at most 32 characters."""
    model: str
    """The model that really answered; at most 128 characters."""
    request_id: str | None
    """The host's own id of the request."""
    input_tokens: int
    """Tokens of the prompt, cached ones included; 0 until somebody says, which the row keeps as unknown."""
    output_tokens: int
    """Tokens of the answer; 0 until somebody says."""
    duration_ms: int | None
    """How long the call was, in whole milliseconds of a clock that is never set; ``None`` while it is open."""
    status: str | None
    """``None`` while nobody set it and the call is open; at most 16 characters."""
    fallback_to: str | None
    """Who took over; at most 64 characters."""
    cost_usd: float
    """A cost that the host assigned; 0.0 until then. What a call costs is worked out by the store."""
    cache_hit: bool
    """Whether the host answered from its cache."""
    rag_hit: bool
    """Whether retrieved documents were used."""
    error: str | None
    """What went wrong, in the host's words or as ``TypeName: message``. How much of it a row keeps is a setting."""
    meta: dict[str, Any]
    """Keys of the host's own."""

    def __new__(
        cls,
        caller: str,
        provider: str,
        model: str,
        request_id: str | None = None,
        meta: Mapping[str, Any] | None = None,
        *,
        site: Site | None = None,
    ) -> Self: ...
    @property
    def call_id(self) -> str | None:
        """The id of the row, while the call is open and recorded."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> bool: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> Awaitable[bool | None]: ...
    def __call__(self, function: _Function, /) -> _Function: ...
    def set_tokens(self, input: int | None = 0, output: int | None = 0) -> None:  # noqa: A002 - the contract's name
        """The tokens of the call. ``None``, and what is no number, is 0 here and unknown in the row."""

    def set_provider(self, p: str | None) -> None:
        """The provider that really answered; cut at 32 characters; a falsy value is ignored."""

    def set_model(self, m: str | None) -> None:
        """The model that really answered; cut at 128 characters; a falsy value is ignored."""

    def set_cache_hit(self, hit: bool = True) -> None:
        """Whether the host answered from its cache."""

    def set_rag_hit(self, hit: bool = True) -> None:
        """Whether retrieved documents were used."""

    def fallback_to_caller(self, target: str) -> None:
        """Another caller takes over, cut at 64 characters; the status becomes ``fallback``. It records a call of its own."""

    def fallback_to_target(self, target: str) -> None:
        """As ``fallback_to_caller``."""

    def set_error(self, msg: str) -> None:
        """The call failed, in the host's words, cut at 2,000 characters; the status becomes ``error``."""

    def set_status(self, s: str) -> None:
        """The status, one of callmeter's words or the host's own; cut at 16 characters."""

    def set_prompt_hash(self, prompt: str) -> None:
        """``meta["prompt_hash"]``: what stands for the prompt, as ``privacy.prompt_hash`` says. An empty one is ignored."""

    def add_meta(self, key: str, value: Any) -> None:
        """A key of the host's own; a falsy one is ignored."""

    def first_token(self) -> None:
        """The first part of the answer has come: takes the time. Later ones change nothing."""

    def set_stream_complete(self, complete: bool) -> None:
        """Whether the answer, a stream, came to its end."""

    def fresh(self, site: Site | None) -> CallState:
        """A call with the same names and meta that has not begun."""

@final
class Site:
    """Where a function is defined."""

    def __new__(cls, file: str, line: int) -> Self: ...

def record(state: CallState) -> bool:
    """Records a state that was filled by hand as a call that ends now, ``duration_ms`` after it began."""

def start(flags: list[_Flag], config: str | None = None) -> str: ...
def settings(flags: list[_Flag], config: str | None = None) -> tuple[list[tuple[str, str, str]], list[str]]: ...
def start_capture(flags: list[_Flag], config: str | None, home: str) -> None: ...
def captured() -> list[str]: ...
def is_started() -> bool: ...
def hold_back() -> None: ...
def mark_forked() -> None: ...
def park(limit_s: float) -> bool: ...
def resume() -> None: ...
def close() -> None: ...
def flush(timeout_s: float) -> bool: ...
def stats() -> dict[str, Any]: ...
def set_enabled(enabled: bool) -> None: ...
def is_enabled() -> bool: ...
def is_on_by_env() -> bool: ...
def set_compat() -> None: ...
def set_hooks(is_patched: bool, is_costed: bool) -> None: ...
def set_registry(ask: Callable[[Any], None] | None) -> None: ...
def open_log() -> None: ...
def next_log_line() -> tuple[int, str, str] | None: ...
def close_log() -> None: ...
def query(flags: list[_Flag], config: str | None, sql: str) -> list[str]: ...
def run_command(arguments: list[str], program: list[str]) -> int: ...

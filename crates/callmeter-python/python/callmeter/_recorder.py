"""The recorder of this process, as a host asks for it: started, looked at, waited for, switched."""

from __future__ import annotations

import json
import os
from typing import Any

from callmeter import _native, _runtime

__all__ = [
    "SettingsError",
    "flush",
    "init",
    "is_enabled",
    "prometheus_collector",
    "query",
    "set_enabled",
    "settings",
    "stats",
]


_ORIGIN = "callmeter.init()"


class SettingsError(ValueError):
    """A setting cannot be used."""


def init(*, config: str | os.PathLike[str] | None = None, **settings: object) -> None:
    """Starts recording now, instead of at the first call, with settings given in code.

    ``config`` names a ``callmeter.toml``. Further settings are named as in it, with ``__`` in place of a dot:
    ``init(store__url="postgres://metrics@db/shop", scope__service="shop")``; they win over file and environment.
    ``store_url`` stands for ``store__url``.

    Raises:
        SettingsError: when a setting cannot be used; recording has then not started.
        RuntimeError: when it has started already.
    """
    if _native.is_started():
        raise RuntimeError("callmeter records in this process already; call init() before the first call")
    flags = [_flag(name, value) for name, value in settings.items()]
    path = None if config is None else os.fspath(config)
    _, errors = _native.settings(flags, path)
    if errors:
        raise SettingsError("\n".join(errors))
    _runtime.set_flags(flags, path)
    _runtime.begin()


def _flag(name: str, value: object) -> _runtime.Flag:
    dotted = "store.url" if name == "store_url" else name.replace("__", ".")
    if isinstance(value, bool):
        return dotted, str(value).lower(), _ORIGIN, False
    return dotted, os.fspath(value) if isinstance(value, os.PathLike) else str(value), _ORIGIN, False


def settings() -> dict[str, tuple[str, str]]:
    """Every setting with its value, without secrets, and where it comes from, as ``callmeter config show`` prints them."""
    return {key: (value, origin) for key, value, origin in _runtime.resolved()[0]}


def flush(timeout: float = 30.0) -> bool:
    """Waits until the store has every call that was finished before, at most ``timeout`` seconds; says whether it has.

    Nothing is lost without it: what is not stored at the end of a process is shipped by the next one.
    """
    _runtime.make_ready_if_resting()
    return _native.flush(timeout)


def stats() -> dict[str, Any]:
    """Where every finished call of this process is, and what went wrong; empty before the first call.

    ``finished = buffered + moving + spooled + acknowledged + rejected + the sum of dropped``.
    """
    _runtime.make_ready_if_resting()
    return _native.stats()


def is_enabled() -> bool:
    """Whether the next call is recorded: both environment variables, ``set_enabled`` and the home's switch say on."""
    if not _native.is_on_by_env():
        return False
    return _native.is_enabled() if _native.is_started() else _runtime.is_wanted()


def set_enabled(enabled: bool) -> None:
    """Switches recording on or off from the next call on. Calls that are open finish as they were opened."""
    _runtime.set_wanted(bool(enabled))


def query(sql: str) -> list[dict[str, Any]]:
    """Asks the store that rows go to, read-only; each row as a dictionary by column.

    ``recorded_calls`` is the store's calls with names, moments and ``cost_usd`` in words; a table ``ai_calls`` is asked as it
    is. What was recorded a moment ago may still be on its way: ``flush()`` first.

    Open an embedded store with nothing else while a process records: two copies of SQLite on one file lose each
    other's locks.

    Raises:
        RuntimeError: when the store cannot be asked, or the question is no single ``SELECT`` that it understands.
    """
    _runtime.name_store()
    return [json.loads(row) for row in _native.query(_runtime.flags(), _runtime.config(), sql)]


def prometheus_collector() -> Any:
    """A collector of this process's figures for ``prometheus_client``'s registries."""
    from callmeter import _prometheus

    return _prometheus.Collector()

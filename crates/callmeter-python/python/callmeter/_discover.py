"""What the host has that the replaced logger asked: its database, and its registry of callers.

``database.manager`` names the database. The address, with its password, is taken from the engine of a session, in memory;
nothing of it is written or logged. No connection is opened: SQLAlchemy connects when a session is first used. A SQLite
file alone is looked into: with the table of the replaced logger in it, that logger's calls are what is recorded, and the
embedded store is where they go.

``services.llm_caller_registry`` is asked about each caller once.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
from typing import Any, NamedTuple

from callmeter import _native

__all__ = ["HostStore", "ask_registry", "has_registry", "store_of_host"]

_MODULE = "database.manager"
_TABLE = "ai_calls"
_REGISTRY = "services.llm_caller_registry"
_logger = logging.getLogger("services.ai_call_logger")


class HostStore(NamedTuple):
    """A store by its address, and who named it; without an address where the host's database is none of callmeter's."""

    url: str | None
    origin: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"HostStore(origin={self.origin!r})"


def store_of_host() -> HostStore | None:
    """The database that the replaced logger would write: PostgreSQL, or a file of SQLite that has its table."""
    try:
        manager = _module(_MODULE)
        return None if manager is None else _store_of(manager.get_session)
    except Exception:  # noqa: BLE001 - whatever the host's module does, its calls are recorded elsewhere then
        return None


def has_registry() -> bool:
    """Whether the host, as far as it is imported, has a registry of callers."""
    try:
        return _REGISTRY in sys.modules or ("services" in sys.modules and _is_there(_REGISTRY))
    except Exception:  # noqa: BLE001 - a package of the host's, of whatever make
        return False


def ask_registry(caller: Any) -> None:
    """Lets the host's registry see a caller; whatever it does, the call is recorded."""
    try:
        registry = _module(_REGISTRY)
        known = getattr(registry, "assert_known_caller", None)
    except Exception as error:  # noqa: BLE001 - a registry is no condition of recording
        _native.set_registry(None)
        _logger.warning("[AICallLogger] the registry of callers cannot be asked: %s", type(error).__name__)
        return
    if known is None:
        _native.set_registry(None)
        if not _has_list():
            _logger.warning("[AICallLogger] there is no registry of callers: none is checked")
        return
    try:
        known(caller, strict=False)
    except Exception as error:  # noqa: BLE001 - an unknown caller is recorded all the same
        _logger.warning("[AICallLogger] the registry of callers refused %r: %s", caller, type(error).__name__)


def _has_list() -> bool:
    """Whether a list of callers is set instead."""
    from callmeter import _runtime

    return any(key == "registry.callers" and value for key, value, _ in _runtime.resolved()[0])


def _module(name: str) -> Any:
    """A module of the host's, imported if need be; ``None`` where there is none."""
    if name in sys.modules:
        return sys.modules[name]
    return importlib.import_module(name) if _is_there(name) else None


def _is_there(name: str) -> bool:
    package = name.partition(".")[0]
    return importlib.util.find_spec(package) is not None and importlib.util.find_spec(name) is not None


def _store_of(get_session: Any) -> HostStore | None:
    with contextlib.ExitStack() as stack:
        session = get_session()
        if hasattr(session, "__enter__") and not hasattr(session, "get_bind"):
            session = stack.enter_context(session)
        elif hasattr(session, "__next__"):
            stack.callback(session.close)
            session = next(session)
        else:
            stack.callback(session.close)
        engine = session.get_bind().engine
        kind = str(engine.url.get_backend_name())
        if kind.startswith("postgres"):
            return HostStore(_plain(engine.url), _MODULE)
        if kind == "sqlite" and _has_table(engine):
            return HostStore(None, _MODULE)
        return None


def _plain(url: Any) -> str:
    plain = url.set(drivername="postgresql").difference_update_query(_foreign(url.query))
    return str(plain.render_as_string(hide_password=False))


#: What of a driver's options callmeter's own connection knows.
_KNOWN = frozenset({"sslmode", "sslrootcert", "host", "port", "connect_timeout", "application_name"})


def _foreign(query: Any) -> list[str]:
    return [name for name in query if name not in _KNOWN]


def _has_table(engine: Any) -> bool:
    """Whether the table is in a file that is there: asking for one that is not would make it."""
    if not os.path.isfile(engine.url.database or ""):
        return False
    return bool(importlib.import_module("sqlalchemy").inspect(engine).has_table(_TABLE))

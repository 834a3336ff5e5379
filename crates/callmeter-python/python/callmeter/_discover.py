"""Which database the host uses, where it has the module that the replaced logger asked: ``database.manager``.

Takes the address, with its password, from the engine of a session, in memory; nothing of it is written or logged.
Opens no connection: SQLAlchemy connects when a session is first used.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from typing import Any, NamedTuple

__all__ = ["HostStore", "store_of_host"]

_MODULE = "database.manager"


class HostStore(NamedTuple):
    """A store by its address, and who named it."""

    url: str
    origin: str

    def __repr__(self) -> str:
        """Without the password."""
        return f"HostStore(origin={self.origin!r})"


def store_of_host() -> HostStore | None:
    """The PostgreSQL database of the host's sessions, if it has such."""
    try:
        manager = _manager()
        if manager is None:
            return None
        url = _url_of(manager.get_session)
    except Exception:  # noqa: BLE001 - whatever the host's module does, its calls are recorded elsewhere then
        return None
    if url is None:
        return None
    return HostStore(url, _MODULE)


def _manager() -> Any:
    if _MODULE in sys.modules:
        return sys.modules[_MODULE]
    if importlib.util.find_spec("database") is None or importlib.util.find_spec(_MODULE) is None:
        return None
    return importlib.import_module(_MODULE)


def _url_of(get_session: Any) -> str | None:
    with contextlib.ExitStack() as stack:
        session = get_session()
        if hasattr(session, "__enter__") and not hasattr(session, "get_bind"):
            session = stack.enter_context(session)
        elif hasattr(session, "__next__"):
            stack.callback(session.close)
            session = next(session)
        else:
            stack.callback(session.close)
        url = session.get_bind().engine.url
        if not str(url.get_backend_name()).startswith("postgres"):
            return None
        plain = url.set(drivername="postgresql").difference_update_query(_foreign(url.query))
        return str(plain.render_as_string(hide_password=False))


#: What of a driver's options callmeter's own connection knows.
_KNOWN = frozenset({"sslmode", "sslrootcert", "host", "port", "connect_timeout", "application_name"})


def _foreign(query: Any) -> list[str]:
    return [name for name in query if name not in _KNOWN]

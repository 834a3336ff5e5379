"""What a process does about its recorder: when it is started, what happens at a fork, and how it ends.

Owns the settings that were given in code, the thread that brings log lines into ``logging``, and the hooks at fork
and exit. Nothing here raises into the host: what goes wrong is one line in the log, and calls go on.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING

from callmeter import _discover, _native

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Flag", "begin", "end", "make_ready", "resolved", "set_flags", "turn_compat_on"]

#: A setting from code: its name, its value, where it comes from, and whether it only counts where nothing else says.
Flag = tuple[str, str, str, bool]

#: How long a fork waits for our threads.
_PARK_S = 0.2
#: How long a fork waits for a thread that starts them: many times what a start takes, unless a disk is stuck.
_LOCK_S = 1.0
#: How long a call waits for another one that starts recording: that one may wait, for an import, for this thread.
_BEGIN_S = 5.0

#: Held by whoever starts or ends our threads, and by a fork. Never while the host's code runs.
_lock = threading.RLock()
#: Held by whoever starts recording, also while the host's modules are asked where to: as long as they like.
_begin_lock = threading.RLock()
_flags: dict[str, Flag] = {}
_config: str | None = None
#: The thread that starts recording, and its process.
_beginner: tuple[int, int] | None = None
_is_wanted = True
#: Whether the replaced module is stood in for.
_is_compat = False
_has_hooks = False
_has_fork_lock = False
_pump: threading.Thread | None = None


def say(level: int, text: str) -> None:
    """Writes one line."""
    name = "services.ai_call_logger" if _is_compat else "callmeter"
    _write(logging.getLogger(name), level, f"[AICallLogger] {text}" if _is_compat else text)


def _write(logger: logging.Logger, level: int, text: str) -> None:
    try:
        logger.log(level, "%s", text)
    except Exception:  # noqa: BLE001 - a handler of the host's; telemetry does not raise
        return


def turn_compat_on(origin: str) -> None:
    """Stands in for the replaced module: its settings, log lines and registry, unless somebody says otherwise."""
    global _is_compat
    if _is_compat:
        return
    _is_compat = True
    _native.set_compat()
    _native.set_registry(_discover.ask_registry)
    _flags.setdefault("compat", ("compat", "ai_call_logger", origin, True))


def set_flags(flags: Iterable[Flag], config: str | None) -> None:
    """Takes settings from code, for the next start."""
    global _config
    with _lock:
        _flags.update({flag[0]: flag for flag in flags})
        _config = config or _config


def resolved() -> tuple[list[tuple[str, str, str]], list[str]]:
    """Every setting with value and origin, and what is wrong with them."""
    return _native.settings(list(_flags.values()), _config)


def make_ready() -> None:
    """Called by a call that found the recorder absent or at rest."""
    try:
        if _native.is_started():
            with _lock:
                _native.resume()
                _start_pump()
        else:
            begin()
    except Exception:  # noqa: BLE001 - whatever it is, the host's call goes on
        _native.hold_back()
        say(logging.ERROR, "recording could not be started; calls of this process are not recorded")
        logging.getLogger("callmeter").debug("why recording could not be started", exc_info=True)


def begin() -> None:
    """Starts recording. Raises what goes wrong: for hosts that ask for it."""
    global _beginner
    lock = _begin_lock
    if not lock.acquire(timeout=_BEGIN_S):
        return
    try:
        # The host's modules, while they are asked, may make calls, or fork.
        if _beginner == _me() or _native.is_started():
            return
        _beginner = _me()
        try:
            store = _find_store()
            with _lock:
                _start_pump()
                home = _native.start(list(_flags.values()), _config)
                _native.set_enabled(_is_wanted)
                _hook()
            _tell_where(store, home)
        finally:
            _beginner = None
    finally:
        lock.release()


def _me() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def _find_store() -> tuple[str, str]:
    """Where rows go and who says so; asks the host's ``database.manager`` when nobody did."""
    origins = {key: (value, origin) for key, value, origin in resolved()[0]}
    compat, by = origins.get("compat", ("", ""))
    if compat == "ai_call_logger":
        turn_compat_on(by)
    elif _discover.has_registry():
        _native.set_registry(_discover.ask_registry)
    url, origin = origins.get("store.url", ("", "default"))
    if origin != "default":
        return url, origin
    found = _discover.store_of_host()
    if found is None:
        return url, origin
    turn_compat_on(found.origin)
    if found.url is None:
        return url, origin
    _flags["store.url"] = ("store.url", found.url, found.origin, True)
    origins = {key: (value, origin) for key, value, origin in resolved()[0]}
    return origins.get("store.url", (url, origin))


def _tell_where(store: tuple[str, str], home: str) -> None:
    url, origin = store
    compat = "; stands in for ai_call_logger" if _is_compat else ""
    said_by = "no setting names a store" if origin == "default" else f"from {origin}"
    say(logging.INFO, f"calls go to {url} ({said_by}), by way of {home}{compat}")
    if origin == "default":
        say(
            logging.WARNING,
            "no store is set: calls go to the embedded one of this machine; set CALLMETER_STORE_URL, or store.url in callmeter.toml",
        )


def end() -> None:
    """Ends recording: waits a moment for the store, and passes the last log lines on."""
    try:
        with _lock:
            _native.close()
            _stop_pump()
            # What was said at the very end, by a thread that is no more.
            _run_pump()
    except Exception:  # noqa: BLE001 - the host ends; nobody is left to be told
        return


def _hook() -> None:
    global _has_hooks
    if _has_hooks:
        return
    _has_hooks = True
    atexit.register(end)


def _before_fork() -> None:
    global _has_fork_lock
    # Held across the fork, so that no thread is in the middle of starting ours.
    _has_fork_lock = _lock.acquire(timeout=_LOCK_S)
    try:
        _stop_pump()
        _native.park(_PARK_S)
    except Exception:  # noqa: BLE001 - the host forks, whatever becomes of our threads
        return


def _after_fork_in_parent() -> None:
    global _has_fork_lock
    if _has_fork_lock:
        _has_fork_lock = False
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock, _begin_lock, _has_fork_lock, _pump
    # The owner of the parent's lock may be a thread that is not here.
    _lock = threading.RLock()
    _begin_lock = threading.RLock()
    _has_fork_lock = False
    _pump = None
    _native.mark_forked()


def _start_pump() -> None:
    global _pump
    if _pump is None or not _pump.is_alive():
        _native.open_log()
        _pump = threading.Thread(target=_run_pump, name="callmeter-log", daemon=True)
        try:
            _pump.start()
        except RuntimeError:
            # The interpreter ends and starts no threads any more; a call of its last moments is recorded all the same.
            _pump = None


def _stop_pump() -> None:
    global _pump
    pump, _pump = _pump, None
    _native.close_log()
    if pump is not None and pump is not threading.current_thread():
        pump.join(timeout=1.0)


def _run_pump() -> None:
    while (line := _native.next_log_line()) is not None:
        level, name, text = line
        _write(logging.getLogger(name), level, text)


def make_ready_if_resting() -> None:
    """After a fork: lets our threads work again."""
    if _native.is_started():
        make_ready()


def flags() -> list[Flag]:
    """The settings from code."""
    return list(_flags.values())


def config() -> str | None:
    """The file of settings that code named."""
    return _config


def set_wanted(enabled: bool) -> None:
    """The host's switch, before the recorder starts and after."""
    global _is_wanted
    _is_wanted = enabled
    _native.set_enabled(enabled)


def is_wanted() -> bool:
    """What the host's switch says."""
    return _is_wanted


def begin_capture(home: Path) -> None:
    """Records into memory from here on, whatever the settings say of stores."""
    with _lock:
        _native.close()
        _start_pump()
        _native.start_capture(list(_flags.values()), _config, str(home))
        _native.set_enabled(_is_wanted)
        _hook()


def end_capture() -> None:
    """Lets the next call start recording by the settings again."""
    with _lock:
        _native.close()
        _native.captured()


def name_store() -> None:
    """Finds the store of the host's, where no setting names one."""
    with _begin_lock:
        _find_store()


# From the import on: a fork may fall into the very first start, and the child would wait for its lock for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )

"""The kill switch: both variables, read at each call; set_enabled; nothing is written while it is off."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import callmeter
import pytest
from callmeter import log_ai_call

Calls = list[dict[str, Any]]


def ask() -> callmeter.CallState:
    with log_ai_call("c", "p", "m") as state:
        state.set_tokens(1, 2)
        state.add_meta("k", 1)
    return state


@pytest.mark.parametrize("variable", ["AI_CALL_LOGGING_ENABLED", "CALLMETER_ENABLED"])
@pytest.mark.parametrize(
    ("word", "is_on"),
    [("false", False), (" OFF ", False), ("0", False), ("No", False), ("", True), ("true", True), ("anything", True)],
)
def test_a_variable_is_obeyed_from_the_next_call_on(
    callmeter_calls: Calls, monkeypatch: pytest.MonkeyPatch, variable: str, word: str, is_on: bool
) -> None:
    monkeypatch.setenv(variable, word)
    state = ask()
    assert (state.status, state.input_tokens, state.meta) == ("ok", 1, {"k": 1})
    assert isinstance(state.duration_ms, int)
    assert callmeter.is_enabled() == is_on
    assert len(callmeter_calls) == int(is_on)
    monkeypatch.delenv(variable)
    ask()
    assert len(callmeter_calls) == int(is_on) + 1


@pytest.mark.parametrize(
    "change",
    [
        lambda: mock.patch.dict(os.environ, {"CALLMETER_ENABLED": "off"}),
        lambda: mock.patch.dict(os.environ, {"CALLMETER_ENABLED": "off"}, clear=True),
        lambda: mock.patch("os.environ", {"CALLMETER_ENABLED": "off"}),
        lambda: mock.patch.object(os, "environ", {**os.environ, "AI_CALL_LOGGING_ENABLED": "0"}),
    ],
)
def test_every_way_to_patch_the_environment_is_seen(callmeter_calls: Calls, change: Any) -> None:
    with change():
        ask()
    assert len(callmeter_calls) == 0
    ask()
    assert len(callmeter_calls) == 1


def test_an_environment_that_cannot_be_asked_records(callmeter_calls: Calls) -> None:
    with mock.patch("os.environ", object()):
        ask()
    assert len(callmeter_calls) == 1


def test_set_enabled_is_the_host_s_own_switch(callmeter_calls: Calls) -> None:
    callmeter.set_enabled(False)
    try:
        ask()
        assert not callmeter.is_enabled()
    finally:
        callmeter.set_enabled(True)
    ask()
    assert len(callmeter_calls) == 1


def test_a_call_that_is_open_finishes_as_it_was_opened(callmeter_calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    with log_ai_call("opened on", "p", "m"):
        monkeypatch.setenv("CALLMETER_ENABLED", "0")
    with log_ai_call("opened off", "p", "m"):
        monkeypatch.delenv("CALLMETER_ENABLED")
    assert [call["caller"] for call in callmeter_calls] == ["opened on"]


def test_while_it_is_off_nothing_is_made_on_the_disk(host: Any) -> None:
    host.environment["AI_CALL_LOGGING_ENABLED"] = "no"
    host.run(
        """
        import callmeter

        with callmeter.log_ai_call("c", "p", "m") as ctx:
            ctx.set_prompt_hash("a prompt")
        assert callmeter.flush(1) and callmeter.stats() == {}
        """
    )
    assert not host.home.exists()


def test_the_command_switches_a_running_process(host: Any) -> None:
    process = host.start(
        """
        import sys, callmeter

        def ask(caller):
            with callmeter.log_ai_call(caller, "p", "m"):
                pass

        ask("first")
        print("first", flush=True)
        for line in sys.stdin:
            wanted = line.strip() == "on"
            while callmeter.is_enabled() != wanted:
                pass
            ask(f"while {line.strip()}")
            print("done", flush=True)
        """,
        stdin=-1,
    )
    assert process.stdout.readline() == "first\n"
    for switch in ("off", "on"):
        host.command(switch)
        process.stdin.write(f"{switch}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
    process.stdin.close()
    assert process.wait(60) == 0
    assert [row["caller"] for row in host.rows()] == ["first", "while on"]

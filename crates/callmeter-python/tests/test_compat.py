"""``callmeter.compat`` stands in for ``services.ai_call_logger``: its names can be patched, and patches have their effect."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

import callmeter
import callmeter.compat
from callmeter import log_ai_call, logged_ai_call

Calls = list[dict[str, Any]]
PATH = "services.ai_call_logger"


@pytest.fixture(autouse=True)
def _two_lines_in_place_of_the_old_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "services", mock.MagicMock(ai_call_logger=callmeter.compat))
    monkeypatch.setitem(sys.modules, PATH, callmeter.compat)
    yield
    callmeter.compat._reset_kill_switch()


def ask(model: str = "gemini-2.5-pro", **state: object) -> callmeter.CallState:
    with log_ai_call("c", "p", model) as ctx:
        ctx.set_tokens(1_000_000, 100_000)
        for name, value in state.items():
            setattr(ctx, name, value)
    return ctx


def test_the_module_has_every_name_that_tests_patch() -> None:
    for name in [
        "log_ai_call",
        "logged_ai_call",
        "_async_write",
        "_write_to_db",
        "_calc_cost",
        "_safe_meta_json",
        "_auto_extract_tokens",
        "_is_logging_enabled",
        "_record_failure",
        "_record_success",
        "_is_killed",
        "_reset_kill_switch",
        "_failure_state",
        "_MAX_CONSECUTIVE_FAILURES",
        "_CallState",
        "COST_TABLE",
        "logger",
    ]:
        assert hasattr(callmeter.compat, name), name
    assert callmeter.compat._CallState is callmeter.CallState
    assert callmeter.compat.log_ai_call is callmeter.log_ai_call
    assert callmeter.compat._MAX_CONSECUTIVE_FAILURES == 10
    assert callmeter.compat.logger.name == PATH


@pytest.mark.parametrize("name", ["_async_write", "_write_to_db"])
def test_a_patched_write_gets_the_state_and_nothing_is_recorded(callmeter_calls: Calls, name: str) -> None:
    with mock.patch(f"{PATH}.{name}") as write:
        state = ask(request_id="r")
    write.assert_called_once_with(state)
    (written,) = write.call_args.args
    assert (written.caller, written.status, written.input_tokens, written.request_id) == ("c", "ok", 1_000_000, "r")
    assert len(callmeter_calls) == 0
    ask()
    assert len(callmeter_calls) == 1


def test_a_decorated_function_is_patched_alike(callmeter_calls: Calls) -> None:
    @logged_ai_call("decorated", "p", "m")
    def ask_ollama() -> dict[str, int]:
        return {"prompt_eval_count": 3, "eval_count": 4}

    with mock.patch(f"{PATH}._write_to_db") as write:
        ask_ollama()
    (state,) = write.call_args.args
    assert (state.caller, state.input_tokens, state.output_tokens) == ("decorated", 3, 4)
    assert len(callmeter_calls) == 0


def test_the_write_can_be_spied_on(callmeter_calls: Calls) -> None:
    with mock.patch(f"{PATH}._write_to_db", wraps=callmeter.compat._write_to_db) as write:
        ask(request_id="r", duration_ms=None)
    assert write.call_count == 1
    (call,) = callmeter_calls
    assert (call["request_id"], call["input_tokens"], call["status"]) == ("r", 1_000_000, "ok")


def test_a_patched_cost_and_a_changed_table_count(callmeter_calls: Calls) -> None:
    with mock.patch(f"{PATH}._calc_cost", return_value=1.5) as cost:
        assert ask().cost_usd == 1.5
    cost.assert_called_once_with("gemini-2.5-pro", 1_000_000, 100_000)
    with mock.patch.dict(callmeter.compat.COST_TABLE, {"my-model": (2.0, 10.0)}):
        assert ask("my-model").cost_usd == 3.0
    callmeter.compat.COST_TABLE["other"] = (1.0, 0.0)
    try:
        ask("other")
    finally:
        del callmeter.compat.COST_TABLE["other"]
    ask("other")
    assert [call.get("reported_cost_usd") for call in callmeter_calls] == ["1.5", "3", "1", None]


@pytest.mark.parametrize(
    ("model", "tokens", "usd"),
    [
        ("gemini-2.5-flash", (1_000_000, 1_000_000), 0.375),
        ("claude-opus-4-7", (7, 3), 0.00033),
        ("claude-haiku-4-5", (-5, -5), 0.0),
        ("gemini-2.5-pro", (10**15, 10**15), 9999.999999),
        ("llama3.1:8b", (10**6, 10**6), 0.0),
        ("unheard of", (10**6, 10**6), 0.0),
        ("deepseek-next", (10**6, 10**6), 0.0),
    ],
)
def test_costs_are_those_of_the_replaced_module(model: str, tokens: tuple[int, int], usd: float) -> None:
    assert callmeter.compat._calc_cost(model, *tokens) == usd


def test_an_unknown_model_warns_and_a_free_one_does_not(caplog: pytest.LogCaptureFixture) -> None:
    callmeter.compat._calc_cost("nvidia/next", 1, 1)
    assert not caplog.records
    callmeter.compat._calc_cost("unheard of", 1, 1)
    assert [(record.name, record.levelname) for record in caplog.records] == [(PATH, "WARNING")]
    assert caplog.messages[0].startswith("[AICallLogger] ")


def test_a_patched_switch_is_asked(callmeter_calls: Calls) -> None:
    with mock.patch(f"{PATH}._is_logging_enabled", return_value=False) as is_enabled:
        ask()
    assert is_enabled.called
    assert len(callmeter_calls) == 0
    with mock.patch(f"{PATH}._is_logging_enabled", return_value=True):
        ask()
    assert len(callmeter_calls) == 1


def test_ten_failed_writes_make_log_lines_until_the_switch_is_reset(
    callmeter_calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=PATH)
    with mock.patch(f"{PATH}._write_to_db", side_effect=OSError("down")):
        for _ in range(10):
            ask()
    assert callmeter.compat._is_killed()
    errors = [
        message for record, message in zip(caplog.records, caplog.messages, strict=True) if record.levelname == "ERROR"
    ]
    assert len(errors) == 1
    assert errors[0].startswith("[AICallLogger] ")
    caplog.clear()
    ask()
    (line,) = caplog.messages
    assert line.startswith(
        "[AICall|killed] caller=c provider=p model=gemini-2.5-pro status=ok tokens=1000000/100000 duration="
    )
    assert line.endswith("ms")
    assert len(callmeter_calls) == 0
    callmeter.compat._reset_kill_switch()
    ask()
    assert len(callmeter_calls) == 1


def test_a_success_resets_the_count() -> None:
    for _ in range(9):
        callmeter.compat._record_failure()
    callmeter.compat._record_success()
    callmeter.compat._record_failure()
    assert not callmeter.compat._is_killed()
    assert callmeter.compat._failure_state["count"] == 1


def test_a_patched_state_class_is_used() -> None:
    class MyState(callmeter.CallState):
        pass

    with mock.patch(f"{PATH}._CallState", MyState), mock.patch(f"{PATH}._write_to_db") as write:
        ask()
    assert type(write.call_args.args[0]) is MyState


def test_a_patched_extractor_and_patched_meta_are_called(callmeter_calls: Calls) -> None:
    @logged_ai_call("decorated", "p", "m")
    def answer() -> dict[str, int]:
        return {"eval_count": 4}

    with mock.patch(f"{PATH}._auto_extract_tokens", side_effect=lambda ctx, result: ctx.set_tokens(7, 8)) as extract:
        answer()
    assert extract.call_args.args[1] == {"eval_count": 4}
    with mock.patch(f"{PATH}._safe_meta_json", return_value='{"patched": true}'):
        ask()
    assert [call.get("output_tokens") for call in callmeter_calls] == [8, 100_000]
    assert callmeter_calls[1]["meta"] == {"patched": True}


@pytest.mark.parametrize(
    ("meta", "text"),
    [({"ü": 1}, '{"ü": 1}'), ({"k": {1, 2}.__class__}, '{"k": "<class \'set\'>"}'), (None, "{}"), ({(1, 2): 3}, "{}")],
)
def test_meta_is_json_whatever_is_in_it(meta: Any, text: str) -> None:
    assert callmeter.compat._safe_meta_json(meta) == text


def test_the_prompt_hash_is_the_first_12_digits(callmeter_calls: Calls) -> None:
    with log_ai_call("c", "p", "m") as state:
        state.set_prompt_hash("hello")
    assert state.meta["prompt_hash"] == "2cf24dba5fb0"
    assert callmeter_calls[0]["meta"]["prompt_hash"] == "2cf24dba5fb0"


@pytest.mark.parametrize("is_compat", [True, False])
def test_a_hash_that_can_be_guessed_is_made_only_where_the_old_module_is_stood_in_for(
    host: Any, is_compat: bool
) -> None:
    done = host.run(
        f"""
        import callmeter{".compat" if is_compat else ""}

        state = callmeter.log_ai_call("c", "p", "m")
        state.set_prompt_hash("hello")
        with state:
            print(state.meta["prompt_hash"] == "2cf24dba5fb0", len(state.meta["prompt_hash"]))
        """
    )
    assert done.stdout == ("True 12\n" if is_compat else "False 32\n")


def test_a_prompt_that_is_no_utf_8_has_the_hash_that_it_had() -> None:
    state = callmeter.CallState("c", "p", "m")
    state.set_prompt_hash("a \ud83d b")
    expected = hashlib.sha256("a \ud83d b".encode("utf-8", "replace")).hexdigest()[:12]
    assert state.meta["prompt_hash"] == expected


def test_a_state_that_is_over_says_what_the_call_cost_and_the_row_leaves_it_to_the_store(
    callmeter_calls: Calls,
) -> None:
    with log_ai_call("c", "p", "gemini-2.5-pro") as state:
        state.set_tokens(1_000_000, 100_000)
        assert state.cost_usd == 0.0
    assert state.cost_usd == 2.25
    (call,) = callmeter_calls
    assert "reported_cost_usd" not in call


def test_patches_of_one_thread_are_seen_by_others(callmeter_calls: Calls) -> None:
    with mock.patch(f"{PATH}._async_write") as write:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert write.call_count == 1


def test_a_state_that_was_filled_by_hand_can_be_written(callmeter_calls: Calls) -> None:
    state = callmeter.compat._CallState(caller="by hand", provider="p", model="m")
    state.duration_ms = 1_500
    state.set_tokens(1, 2)
    callmeter.compat._write_to_db(state)
    (call,) = callmeter_calls
    assert (call["caller"], call["duration_us"] // 1_000_000) == ("by hand", 1)


REGISTRY = """
seen = []

def assert_known_caller(caller, strict=False):
    seen.append((caller, strict))
    raise LookupError(caller)
"""
ASK_SOME = """
import logging, sys
sys.path.insert(0, ".")
logging.basicConfig(level=logging.WARNING, format="%(name)s %(message)s")
{imports}
for caller in ("sales", "sales", "hermes"):
    with log_ai_call(caller, "p", "m"):
        pass
"""
SEEN = "from services import llm_caller_registry\nprint(llm_caller_registry.seen)\n"


@pytest.mark.parametrize(
    "imports",
    [
        "from services.ai_call_logger import log_ai_call",
        "from callmeter.compat import log_ai_call",
        "import services\nfrom callmeter import log_ai_call",
    ],
)
def test_the_host_s_registry_sees_each_caller_once(host: Any, imports: str) -> None:
    host.write("services/__init__.py", "")
    host.write("services/ai_call_logger.py", "import sys, callmeter.compat\nsys.modules[__name__] = callmeter.compat\n")
    host.write("services/llm_caller_registry.py", REGISTRY)
    done = host.run(ASK_SOME.format(imports=imports) + SEEN)
    assert done.stdout == "[('sales', False), ('hermes', False)]\n"
    assert "services.ai_call_logger [AICallLogger] the registry of callers refused 'sales': LookupError" in done.stderr
    assert [row["caller"] for row in host.rows()] == ["sales", "sales", "hermes"]


def test_the_registry_is_asked_where_the_import_is_changed_and_the_database_alone_tells_of_the_old_module(
    host: Any,
) -> None:
    host.write("services/__init__.py", "")
    host.write("services/llm_caller_registry.py", REGISTRY)
    host.write("database/__init__.py", "")
    # Nobody listens there: the calls wait.
    url = "postgresql+psycopg://shop@127.0.0.1:1/shop"
    host.write(
        "database/manager.py",
        f"""
        import sqlalchemy
        from sqlalchemy.orm import sessionmaker

        get_session = sessionmaker(sqlalchemy.create_engine({url!r}))
        """,
    )
    done = host.run(ASK_SOME.format(imports="from callmeter import log_ai_call") + SEEN)
    assert done.stdout == "[('sales', False), ('hermes', False)]\n"
    assert "services.ai_call_logger [AICallLogger] the registry of callers refused 'sales': LookupError" in done.stderr
    host.environment["CALLMETER_STORE_URL"] = url.replace("+psycopg", "")
    assert "3 calls in 1 spool" in host.command("status")


def test_a_registry_that_is_not_there_is_one_warning_and_a_list_of_callers_is_none(host: Any) -> None:
    program = ASK_SOME.format(imports="from callmeter.compat import log_ai_call")
    warning = "services.ai_call_logger [AICallLogger] there is no registry of callers"
    assert host.run(program).stderr.count(warning) == 1
    host.write("callers.toml", "[[caller]]\nname = 'sales'\n")
    host.environment["CALLMETER_REGISTRY__CALLERS"] = str(host.directory / "callers.toml")
    assert warning not in host.run(program).stderr


def test_a_registry_that_cannot_be_imported_is_one_warning(host: Any) -> None:
    host.write("services/__init__.py", "")
    host.write("services/llm_caller_registry.py", "raise OSError('no list today')")
    done = host.run(ASK_SOME.format(imports="from callmeter.compat import log_ai_call"))
    assert done.stderr.count("[AICallLogger] the registry of callers cannot be asked: OSError") == 1
    assert len(host.rows()) == 3

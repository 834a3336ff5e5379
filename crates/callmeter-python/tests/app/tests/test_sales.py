"""The application's own tests, which patch the logger by its path."""

import contextlib
import threading
from unittest import mock

import pytest

from services import ai_call_logger, sales, support
from services.models import HostDown, Hosts

LOGGER = "services.ai_call_logger"


@pytest.fixture
def written():
    """The states that would have been written."""
    states = []
    with mock.patch(f"{LOGGER}._async_write", side_effect=states.append):
        yield states


@pytest.fixture(autouse=True)
def _healthy_logger():
    ai_call_logger._reset_kill_switch()
    yield
    ai_call_logger._reset_kill_switch()


def test_the_host_that_answered_is_recorded(written):
    sales.sales_copy("Mütze", Hosts(down=["gcp_a", "gcp_b"]))
    (state,) = written
    assert (state.provider, state.model, state.status) == ("ollama_small", "llama3.2:latest", "ok")
    assert (state.input_tokens, state.output_tokens) == (5, 10)
    assert len(state.meta["prompt_hash"]) == 12


def test_a_fallback_makes_two_calls(written):
    sales.analyse("too much")
    assert [(state.caller, state.status, state.fallback_to) for state in written] == [
        ("sales_copy", "ok", None),
        ("hermes_analyst", "fallback", "sales_copy"),
    ][::-1]


def test_the_error_reaches_the_caller(written):
    with pytest.raises(HostDown):
        sales.sales_copy("Schal", Hosts(down=["gcp_a", "gcp_b", "small"]))
    assert written[0].status == "error"
    assert written[0].error == "HostDown: [Errno 111] Connection refused"


def test_the_write_happens_off_the_caller_s_thread():
    written = threading.Event()
    with mock.patch(f"{LOGGER}._write_to_db", side_effect=lambda state: written.set()) as write:
        support.answer("when do you open?")
        assert written.wait(10)
    assert write.call_args.args[0].caller == "support_bot"


def test_the_cost_can_be_replaced(written):
    with mock.patch(f"{LOGGER}._calc_cost", return_value=0.5):
        sales.check_price(42, model="gemini-2.5-pro")
    assert written[0].cost_usd == 0.5


def test_the_table_has_the_price(written):
    sales.check_price(42, model="gemini-2.5-pro")
    assert written[0].cost_usd == pytest.approx(0.006265)
    with mock.patch.dict(ai_call_logger.COST_TABLE, {"gemini-2.5-pro": (0.0, 0.0)}):
        assert ai_call_logger._calc_cost("gemini-2.5-pro", 1_000, 500) == 0.0


def test_switched_off_nothing_is_written(written, monkeypatch):
    monkeypatch.setenv("AI_CALL_LOGGING_ENABLED", " Off ")
    sales.sales_copy("Jacke")
    assert not written
    monkeypatch.delenv("AI_CALL_LOGGING_ENABLED")
    with mock.patch(f"{LOGGER}._is_logging_enabled", return_value=False):
        sales.sales_copy("Jacke")
    assert not written


def test_ten_failures_make_log_lines(caplog):
    caplog.set_level("INFO", logger="services.ai_call_logger")
    with contextlib.suppress(Exception):
        for _ in range(ai_call_logger._MAX_CONSECUTIVE_FAILURES):
            ai_call_logger._record_failure()
    assert ai_call_logger._is_killed()
    with mock.patch(f"{LOGGER}._write_to_db") as write:
        sales.sales_copy("Jacke")
    assert not write.called
    assert any(line.startswith("[AICall|killed] caller=sales_copy provider=ollama_gcp_a") for line in caplog.messages)


def test_meta_is_json_whatever_it_holds():
    assert ai_call_logger._safe_meta_json({"größe": {1}}) == '{"größe": "{1}"}'


def test_tokens_are_read_from_a_reply():
    ctx = ai_call_logger._CallState("c", "p", "m")
    ai_call_logger._auto_extract_tokens(ctx, {"prompt_eval_count": 3, "eval_count": 4})
    assert (ctx.input_tokens, ctx.output_tokens) == (3, 4)

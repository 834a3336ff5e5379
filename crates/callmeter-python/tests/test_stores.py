"""Where rows go: what names the store, what is said of it, and what happens when a setting cannot be used."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import Any

import pytest

from postgres_server import Server

ASK = """
import logging
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
import callmeter

with callmeter.log_ai_call("c", "p", "m"):
    pass
"""
SETTLED = ASK + "print(callmeter.settings()['store.url'], callmeter.settings()['compat'])\n"

MANAGER = """
import sqlalchemy
from sqlalchemy.orm import sessionmaker

engine = sqlalchemy.create_engine({url!r})
get_session = sessionmaker(engine)
{more}
"""
URL = "postgresql+psycopg://shop:hunter2@db.internal:6432/shop?connect_timeout=3&prepare_threshold=0"


def test_without_a_setting_it_is_the_embedded_store_and_a_warning_says_which_setting(host: Any) -> None:
    done = host.run(ASK)
    info, warning = done.stderr.splitlines()[:2]
    assert info.startswith(f"INFO callmeter calls go to sqlite:{host.home}/")
    assert warning.startswith("WARNING callmeter no store is set")
    assert "CALLMETER_STORE_URL" in warning
    assert len(host.rows()) == 1


@pytest.mark.parametrize("way", ["variable", "file"])
def test_a_setting_names_the_store_and_one_line_says_so(host: Any, way: str) -> None:
    if way == "variable":
        host.environment["CALLMETER_STORE_URL"] = f"sqlite:{host.directory}/calls.db"
    else:
        host.write("callmeter.toml", '[store]\nurl = "sqlite:calls.db"\n')
    done = host.run(ASK)
    info = done.stderr.splitlines()[0]
    assert "no store is set" not in done.stderr
    assert f"calls go to sqlite:{host.directory}/calls.db (from " in info
    assert len(host.rows()) == 1


@pytest.mark.parametrize(
    "more",
    [
        "",
        "import contextlib\nget_session = contextlib.contextmanager(lambda make=get_session: (yield make()))\n",
        "def get_session(make=get_session):\n    yield make()\n",
    ],
    ids=["session", "context manager", "generator"],
)
def test_the_host_s_database_manager_names_the_store_and_nothing_shows_its_password(host: Any, more: str) -> None:
    host.write("database/__init__.py", "")
    host.write("database/manager.py", MANAGER.format(url=URL, more=more))
    host.environment["PYTHONPATH"] += f":{host.directory}"
    done = host.run(SETTLED)
    assert "postgres://shop@db.internal:6432/shop" in done.stdout
    assert "database.manager" in done.stdout
    assert "ai_call_logger" in done.stdout
    info = done.stderr.splitlines()[0]
    assert info.startswith(
        "INFO services.ai_call_logger [AICallLogger] calls go to postgres://shop@db.internal:6432/shop"
    )
    assert "hunter2" not in done.stdout + done.stderr
    for path in host.home.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


@pytest.mark.parametrize(
    "manager",
    [
        "raise RuntimeError('no database today')",
        "get_session = None",
        MANAGER.format(url="sqlite://", more=""),
        "def get_session():\n    raise OSError('down')",
    ],
)
def test_a_database_manager_that_is_of_no_use_harms_nothing(host: Any, manager: str) -> None:
    host.write("database/__init__.py", "")
    host.write("database/manager.py", manager)
    host.environment["PYTHONPATH"] += f":{host.directory}"
    done = host.run(SETTLED)
    assert done.stdout.startswith("('sqlite:")
    assert len(host.rows()) == 1


@pytest.mark.parametrize("table", ["ai_calls", "orders"])
def test_a_sqlite_file_with_the_table_of_the_replaced_module_chooses_compat_and_another_does_not(
    host: Any, table: str
) -> None:
    host.write("database/__init__.py", "")
    with contextlib.closing(sqlite3.connect(host.directory / "shop.db")) as shop:
        shop.execute(f"CREATE TABLE {table} (id integer)")
    host.write("database/manager.py", MANAGER.format(url="sqlite:///shop.db", more=""))
    host.environment["PYTHONPATH"] += f":{host.directory}"
    done = host.run(SETTLED)
    assert done.stdout.startswith(f"('sqlite:{host.home}")
    assert ("'ai_call_logger', 'database.manager'" in done.stdout) == (table == "ai_calls")
    assert ("[AICallLogger] no store is set" in done.stderr) == (table == "ai_calls")
    assert len(host.rows()) == 1


def test_looking_for_the_database_of_the_host_makes_no_file(host: Any) -> None:
    host.write("database/__init__.py", "")
    host.write("database/manager.py", MANAGER.format(url="sqlite:///shop.db", more=""))
    host.environment["PYTHONPATH"] += f":{host.directory}"
    host.run(ASK)
    assert not (host.directory / "shop.db").exists()


def test_a_setting_wins_over_the_database_manager(host: Any) -> None:
    host.write("database/__init__.py", "")
    host.write("database/manager.py", "raise SystemExit('never imported')")
    host.environment["PYTHONPATH"] += f":{host.directory}"
    host.environment["CALLMETER_STORE_URL"] = f"sqlite:{host.directory}/calls.db"
    host.run(SETTLED)


def test_a_broken_setting_is_one_error_and_the_call_waits_in_the_spool(host: Any) -> None:
    host.environment["CALLMETER_STORE_URL"] = "mysql://me:hunter2@db/shop"
    done = host.run(ASK + "print(callmeter.stats()['finished'])")
    assert done.stdout == "1\n"
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert "CALLMETER_STORE_URL" in errors[0]
    assert "hunter2" not in done.stderr
    del host.environment["CALLMETER_STORE_URL"]
    assert "pending   1 call" in host.command("status")


def test_importing_compat_chooses_its_settings_and_its_log_lines(host: Any) -> None:
    done = host.run("import callmeter.compat\n" + SETTLED + "print(callmeter.settings()['privacy.errors'])")
    assert "import callmeter.compat" in done.stdout
    assert "scrubbed" in done.stdout
    assert done.stderr.startswith("INFO services.ai_call_logger [AICallLogger] calls go to sqlite:")


def test_init_takes_settings_and_refuses_what_is_none(host: Any) -> None:
    done = host.run(
        f"""
        import callmeter

        for wrong in ({{"stor__url": "x"}}, {{"store__url": "mysql://db"}}, {{"exit_flush": "soon"}}):
            try:
                callmeter.init(**wrong)
            except callmeter.SettingsError as error:
                print("refused", "mysql://db" in str(error))
        callmeter.init(store_url="sqlite:{host.directory}/calls.db", scope__service="shop")
        print(callmeter.settings()["scope.service"])
        try:
            callmeter.init()
        except RuntimeError as error:
            print("already" in str(error))
        with callmeter.log_ai_call("c", "p", "m"):
            pass
        assert callmeter.flush(30)
        print(callmeter.query("SELECT caller, service FROM recorded_calls"))
        """
    )
    assert done.stdout.splitlines() == [
        "refused False",
        "refused False",
        "refused False",
        "('shop', 'flag callmeter.init()')",
        "True",
        "[{'caller': 'c', 'service': 'shop'}]",
    ]


def test_query_reads_and_never_writes(host: Any) -> None:
    host.run(
        """
        import callmeter

        with callmeter.log_ai_call("größe", "gemini", "gemini-2.5-pro") as ctx:
            ctx.set_tokens(1_000_000, 0)
        assert callmeter.flush(30)
        (row,) = callmeter.query("SELECT caller, provider, model, status, input_tokens, cost_usd FROM recorded_calls;")
        assert list(row) == ["caller", "provider", "model", "status", "input_tokens", "cost_usd"], row
        assert row["caller"] == "größe" and row["input_tokens"] == 1_000_000 and row["cost_usd"] > 0, row
        for sql in ("DELETE FROM calls", "SELECT 1; DROP TABLE calls", "nonsense"):
            try:
                callmeter.query(sql)
            except RuntimeError:
                pass
            else:
                raise AssertionError(sql)
        """
    )
    assert len(host.rows()) == 1


#: One call of each kind, and every column of the page, asked of the store.
COLUMNS = (
    "caller, provider, model, status, fallback_to, input_tokens, output_tokens, cache_read_tokens, cache_hit, rag_hit, "
    "http_status, error_kind, cost_usd, service, team"
)
RECORDED = f"""
import json, logging, sys
logging.basicConfig(level=logging.ERROR)
import callmeter

callmeter.init(scope__service="shop", scope__team="sales")
with callmeter.log_ai_call("größe", "gemini", "gemini-2.5-pro", request_id="r-1") as ctx:
    ctx.set_tokens(1_000_000, 1_000)
    ctx.set_cache_hit(False)
with callmeter.log_ai_call("sales_copy", "ollama", "llama3.1:8b") as ctx:
    ctx.fallback_to_caller("largest")
    ctx.set_rag_hit()
try:
    with callmeter.log_ai_call("sales_copy", "openai", "gpt-5-mini"):
        raise ConnectionRefusedError("[Errno 111] Connection refused")
except OSError:
    pass
assert callmeter.flush(60)
ask = callmeter.query
answers = [
    ask("SELECT {COLUMNS} FROM recorded_calls ORDER BY started_at"),
    ask("SELECT caller, count(*) AS calls, sum(cost_usd) AS usd FROM recorded_calls GROUP BY caller ORDER BY caller"),
    ask("SELECT error_kind FROM recorded_calls WHERE status = 'error'"),
]
moments = ask("SELECT started_at, duration_us, call_site, host_name FROM recorded_calls")
assert all(row["call_site"].startswith("program_") and row["host_name"] for row in moments), moments
for sql in ("DELETE FROM calls", "SELECT 1; DROP TABLE calls", "nonsense"):
    try:
        ask(sql)
    except RuntimeError:
        pass
    else:
        raise AssertionError(sql)
print(json.dumps(answers))
"""


def test_query_answers_the_same_of_postgresql_as_of_the_embedded_store(host: Any, postgres: Server) -> None:
    embedded = json.loads(host.run(RECORDED).stdout)
    host.environment["CALLMETER_STORE_URL"] = f"postgres://{postgres.database()}"
    host.command("migrate")
    assert json.loads(host.run(RECORDED).stdout) == embedded
    first, fallback, failed = embedded[0]
    assert (first["caller"], first["input_tokens"], first["service"]) == ("größe", 1_000_000, "shop")
    assert first["cost_usd"] > 0
    assert (fallback["status"], fallback["fallback_to"]) == ("fallback", "largest")
    assert (failed["status"], failed["error_kind"]) == ("error", "network")


def test_a_store_that_is_down_for_long_is_told_of_once_and_the_calls_wait(host: Any) -> None:
    host.environment |= {
        "CALLMETER_STORE_URL": "postgres://nobody@127.0.0.1:1/nothing",
        "CALLMETER_COMPAT": "ai_call_logger",
    }
    done = host.run(
        """
        import logging, sys, time
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
        import callmeter

        def ask(caller):
            with callmeter.log_ai_call(caller, "ollama", "llama3.1:8b") as ctx:
                ctx.set_tokens(26, 112)

        ask("before")
        # Ten failures, with longer and longer pauses between them: most of a minute.
        deadline = time.monotonic() + 300
        while not callmeter.stats()["is_degraded"]:
            assert time.monotonic() < deadline, callmeter.stats()
            time.sleep(0.1)
        ask("after")
        """,
        patience=360.0,
    )
    lines = done.stdout.splitlines()
    (error,) = [line for line in lines if line.startswith("ERROR")]
    assert error.startswith("ERROR services.ai_call_logger [AICallLogger] ")
    (killed,) = [line for line in lines if "[AICall|killed]" in line]
    assert killed.startswith(
        "INFO services.ai_call_logger [AICall|killed] caller=after provider=ollama model=llama3.1:8b status=ok tokens=26/112 duration="
    )
    assert "2 calls in 1 spool" in host.command("status")


def test_a_host_that_cannot_write_anywhere_is_not_disturbed(host: Any) -> None:
    host.environment["CALLMETER_HOME"] = "/proc/no/such/place"
    done = host.run(ASK + "print('done')")
    assert done.stdout == "done\n"

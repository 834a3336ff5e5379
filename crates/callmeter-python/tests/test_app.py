"""A small application of the replaced module, as it is and switched: its tests pass, its rows and its reports are the same.

Switched in both ways: with the import changed, and with the old file as two lines. Rows are compared one by one, in the embedded
store beside the application's SQLite, and in the PostgreSQL table that the replaced module wrote before.
"""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import sys
from typing import Any

import pytest
import sqlalchemy

from conftest import PATIENCE_S, Host
from postgres_server import Server

APP = pathlib.Path(__file__).resolve().parent / "app"
OLD_IMPORT = "from services.ai_call_logger import"
TWO_LINES = "import sys, callmeter.compat\n\nsys.modules[__name__] = callmeter.compat\n"
COLUMNS = [
    "request_id",
    "caller",
    "provider",
    "model",
    "input_tokens",
    "output_tokens",
    "status",
    "fallback_to",
    "cost_usd",
    "cache_hit",
    "rag_hit",
    "error",
    "meta",
]

#: What is not as it was, by request and column: what the replaced module wrote, and what stands there now.
DIFFERENCES: dict[tuple[str | None, str], tuple[object, object]] = {
    # Of an error that no template knows the type is kept: the text quotes the question.
    ("analysis-3", "error"): ("ValueError: cannot read the reply to 'garbage'", "ValueError"),
    ("support-3", "error"): ("ValueError: cannot read the reply to 'garbage'", "ValueError"),
    # Of a provider's body the message goes, because it may quote the prompt.
    ("analysis-2", "error"): (
        "RuntimeError: 429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'too much', 'status': 'RESOURCE_EXHAUSTED'}}",
        "RuntimeError: 429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': '…', 'status': 'RESOURCE_EXHAUSTED'}}",
    ),
}


class App:
    """A copy of the application."""

    def __init__(self, directory: pathlib.Path) -> None:
        shutil.copytree(APP, directory / "app", ignore=shutil.ignore_patterns("__pycache__"))
        self.host = Host(directory / "app")
        self.host.environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def _rewrite(self, old: str, new: str) -> None:
        changed = 0
        for path in self.host.directory.rglob("*.py"):
            text = path.read_text()
            changed += old in text
            path.write_text(text.replace(old, new))
        assert changed

    def change_imports(self) -> None:
        """``callmeter`` in place of the old module, everywhere; the old file goes."""
        (self.host.directory / "services/ai_call_logger.py").unlink()
        self._rewrite(OLD_IMPORT, "from callmeter import")
        self._rewrite(
            "from services import ai_call_logger, sales",
            "from callmeter import compat as ai_call_logger\nfrom services import sales",
        )
        self._rewrite('LOGGER = "services.ai_call_logger"', 'LOGGER = "callmeter.compat"')

    def keep_two_lines(self) -> None:
        """The old file as two lines; nothing else changes."""
        (self.host.directory / "services/ai_call_logger.py").write_text(TWO_LINES)

    def run(self, *command: str) -> str:
        """Runs a command of the application to its end."""
        process = self.host.start_command([sys.executable, *command])
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, f"{out}\n{err}"
        return str(out)

    def day(self, database: str) -> dict[str, Any]:
        """A day at the shop, with what was said and what the reports answer."""
        self.host.environment["SHOP_DATABASE"] = database
        return json.loads(self.run("day.py"))  # type: ignore[no-any-return]


def switch(app: App, way: str) -> None:
    """Switches the application by its imports alone: no variable, no file of settings."""
    getattr(app, way)()
    assert not [name for name in app.host.environment if name.startswith("CALLMETER_") and name != "CALLMETER_HOME"]


def make_side_table(host: Host, address: str) -> None:
    """The one command of the guide, as the table's owner."""
    variables = {"CALLMETER_STORE_URL": address.replace("+psycopg", ""), "CALLMETER_COMPAT": "ai_call_logger"}
    host.environment |= variables
    host.command("migrate")
    for name in variables:
        del host.environment[name]


WAYS = pytest.mark.parametrize("way", ["change_imports", "keep_two_lines"])


def table(address: str) -> list[dict[str, Any]]:
    """The rows of ``ai_calls``, in an order that does not depend on who wrote first."""
    engine = sqlalchemy.create_engine(address)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(sqlalchemy.text("SELECT * FROM ai_calls")).mappings()]
    engine.dispose()
    for row in rows:
        row["cost_usd"] = f"{row['cost_usd']:.6f}"
        row["cache_hit"], row["rag_hit"] = bool(row["cache_hit"]), bool(row["rag_hit"])
        row["meta"] = json.loads(row["meta"]) if isinstance(row["meta"], str) else row["meta"]
    return ordered(rows)


def ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["request_id"] or "", row["model"]))


def as_columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the embedded store as the columns of ``ai_calls``."""
    for row in rows:
        row["cost_usd"] = f"{float(row.get('cost_usd') or 0):.6f}"
        row["model"] = row["model"] or row["model_requested"]
        row["input_tokens"], row["output_tokens"] = row["input_tokens"] or 0, row["output_tokens"] or 0
        row["cache_hit"], row["rag_hit"] = bool(row["cache_hit"]), bool(row["rag_hit"])
        row["meta"] = row["meta"] or {}
    return ordered(rows)


def assert_same_rows(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    """Column by column, but for the differences that are meant."""
    assert len(new) == len(old) > 10
    met = set()
    for before, after in zip(old, new, strict=True):
        for column in COLUMNS:
            place = (before["request_id"], column)
            was, now = before[column], after[column]
            if place in DIFFERENCES:
                assert (was, now) == DIFFERENCES[place]
                met.add(place)
                continue
            if column == "meta":
                # A model without a price costs 0 as before, and the row says that nobody knows its price.
                now = {key: value for key, value in now.items() if key != "callmeter.unpriced"}
            assert now == was, f"{place}: {was!r} became {now!r}"
    assert met == set(DIFFERENCES)


def test_the_application_s_tests_pass_on_the_replaced_module(tmp_path: pathlib.Path) -> None:
    App(tmp_path).run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")


@WAYS
def test_the_application_s_tests_pass_when_it_is_switched(tmp_path: pathlib.Path, way: str) -> None:
    app = App(tmp_path)
    switch(app, way)
    app.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")


@WAYS
def test_the_rows_beside_sqlite_are_the_same(tmp_path: pathlib.Path, way: str) -> None:
    old, new = App(tmp_path / "old"), App(tmp_path / "new")
    switch(new, way)
    database = f"sqlite:///{tmp_path}/shop.db"
    said = old.day(database)
    assert new.day(f"sqlite:///{tmp_path}/other.db")["said"] == said["said"]
    assert_same_rows(table(database), as_columns(new.host.rows()))


@WAYS
def test_the_table_on_postgresql_goes_on_and_its_reports_answer_as_before(
    tmp_path: pathlib.Path, postgres: Server, way: str
) -> None:
    old, new = App(tmp_path / "old"), App(tmp_path / "new")
    alone, shared = (f"postgresql+psycopg://{postgres.database()}" for _ in range(2))
    said = old.day(alone)
    # The same table as the user has it: with the rows of the replaced module in it.
    assert old.day(shared) == said
    before = table(shared)

    # The application's own ``database.manager`` names the store, and with it chooses compat.
    switch(new, way)
    make_side_table(new.host, shared)
    answered = new.day(shared)
    assert answered["said"] == said["said"]

    known = {row["id"] for row in before}
    after = table(shared)
    assert [row for row in after if row["id"] in known] == before
    assert_same_rows(table(alone), [row for row in after if row["id"] not in known])

    # Each report counts both days: twice what it said of one.
    again = old.day(alone)["reports"]
    for name, rows in answered["reports"].items():
        assert rows == again[name], name


def test_the_questions_of_the_guide_answer(host: Host) -> None:
    guide = APP.parents[3] / "docs/guides/switching.md"
    questions = re.findall(r"^```sql\n(.*?)^```$", guide.read_text(), flags=re.M | re.S)
    assert len(questions) == 3
    host.environment["CALLMETER_COMPAT"] = "ai_call_logger"
    answered = host.run(
        """
        import contextlib, json, sys
        import callmeter
        for error in (TimeoutError(), ConnectionError("[Errno 111] Connection refused"), RuntimeError("429 Too Many Requests")):
            with contextlib.suppress(Exception), callmeter.log_ai_call("c", "openai", "m"):
                raise error
        with callmeter.log_ai_call("c", "openai", "m"):
            pass
        assert callmeter.flush(60)
        print(json.dumps([callmeter.query(question) for question in sys.argv[1:]]))
        """,
        *questions,
    )
    by_kind, limited, unreachable = json.loads(answered.stdout)
    assert {row["error_kind"]: row["calls"] for row in by_kind} == {"timeout": 1, "network": 1, "rate_limit": 1}
    assert limited == [{"provider": "openai", "model": "m", "limited": 1}]
    assert unreachable == [{"caller": "c", "unreachable": 2, "calls": 4}]

"""The golden table in databases: the rows of the replaced module's in PostgreSQL, and callmeter's in its place and in the
embedded store, column by column.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from golden_calls import CASES, COLUMNS, Row, has_row, old_row, own_row, table_row
from postgres_server import Server
from test_app import App, make_side_table

#: Makes each call, waits until it is written, and prints what that brought into ``ai_calls``.
MAKE_CALLS = """
import json
from day import write_to_the_end
from database.manager import create_all, get_session
from database.models import ai_calls
from golden_calls import CASES, make_call
from services import ai_call_logger

create_all()
last = 0
for case in CASES:
    # Rows that the database refused are no reason to write no more.
    ai_call_logger._reset_kill_switch()
    make_call(ai_call_logger, case)
    write_to_the_end()
    with get_session() as session:
        query = ai_calls.select().where(ai_calls.c.id > last)
        rows = [dict(row._mapping) for row in session.execute(query)]
    last = max([last, *(row["id"] for row in rows)])
    print(json.dumps({"case": case["case"], "rows": rows}, default=str))
"""


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory, postgres: Server) -> dict[str, dict[str, list[Row]]]:
    """The rows of ``ai_calls`` by case: the replaced module's, and those that are written in its place."""
    rows = {}
    for name in ("old", "new"):
        app = App(tmp_path_factory.mktemp(name))
        address = f"postgresql+psycopg://{postgres.database()}"
        app.host.environment["SHOP_DATABASE"] = address
        app.run("-c", "from database.manager import create_all; create_all()")
        if name == "new":
            app.keep_two_lines()
            make_side_table(app.host, address)
        printed = map(json.loads, app.host.run(MAKE_CALLS).stdout.splitlines())
        rows[name] = {line["case"]: line["rows"] for line in printed}
    return rows


def columns(row: Row) -> Row:
    """A row's columns; what every row has is looked at here."""
    assert 0 <= row["duration_ms"] < 60_000
    assert row["created_at"] is not None
    return {name: row[name] for name in COLUMNS}


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_the_table_has_the_rows_that_it_had(databases: dict[str, dict[str, list[Row]]], case: dict[str, Any]) -> None:
    expected = {"old": old_row(case), "new": table_row(case)}
    for name, row in expected.items():
        rows = databases[name][case["case"]]
        assert [columns(found) for found in rows] == ([] if row is None else [row]), name


def test_the_embedded_store_has_the_rows_of_the_table(tmp_path: pathlib.Path) -> None:
    app = App(tmp_path)
    app.host.environment["SHOP_DATABASE"] = f"sqlite:///{tmp_path}/shop.db"
    app.keep_two_lines()
    app.host.run(MAKE_CALLS)
    cases = [case for case in CASES if has_row(case)]
    rows = app.host.rows()
    assert len(rows) == len(cases)
    for case, row in zip(cases, rows, strict=True):
        cost = row.get("cost_usd")
        found = {name: row.get(name) for name in COLUMNS}
        found["model"] = row["model"] or row["model_requested"]
        found["cost_usd"] = None if cost is None else f"{float(str(cost)):.6f}"
        assert found == own_row(case), case["case"]

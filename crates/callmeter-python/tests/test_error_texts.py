"""What the guide on switching says of errors, held against tables: the texts that it shows before and after, the questions that
still find them, and those about their kind in a store and in an adopted table.
"""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import pytest
import sqlalchemy

from postgres_server import Server
from test_app import App, make_side_table, owner

GUIDE = (pathlib.Path(__file__).resolve().parents[3] / "docs/guides/switching.md").read_text()

#: Raises each text as the exception that it was, in a call.
RAISE = """
import contextlib, json, sys
from day import write_to_the_end
from database.manager import create_all
from services.ai_call_logger import log_ai_call

create_all()
for text in json.loads(sys.argv[1]):
    name, _, message = text.partition(": ")
    with contextlib.suppress(Exception), log_ai_call("sales_copy", "openai", "gemini-2.5-pro"):
        raise type(name, (Exception,), {})(message)
    write_to_the_end()
"""
ASK = """
import json, sys
import callmeter
print(json.dumps([callmeter.query(question) for question in sys.argv[1:]]))
"""


def section(title: str) -> str:
    return GUIDE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


PAIRS = re.findall(r"^\| `(.*)` \| `(.*)` \|$", section("Error texts"), flags=re.M)
CONDITIONS = re.findall(r"`(error (?:LIKE '[^<']*'|IS NOT NULL))`", section("Questions about errors"))
QUESTIONS = re.findall(r"^```sql\n(.*?)^```$", section("Questions about errors"), flags=re.M | re.S)


def make_errors(app: App, database: str) -> None:
    app.host.environment["SHOP_DATABASE"] = database
    app.host.run(RAISE, json.dumps([before for before, _ in PAIRS]))


def answers(address: str, *questions: str) -> list[list[Any]]:
    engine = sqlalchemy.create_engine(address)
    with engine.connect() as connection:
        # No text of the guide's is a parameter.
        found = [list(connection.exec_driver_sql(question.replace("%", "%%")).scalars()) for question in questions]
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory, postgres: Server) -> dict[str, tuple[App, str]]:
    """The replaced module's table and the one that is written in its place."""
    found = {}
    for name in ("old", "new"):
        app = App(tmp_path_factory.mktemp(name))
        address = f"postgresql+psycopg://{postgres.database()}"
        app.host.environment["SHOP_DATABASE"] = address
        app.run("-c", "from database.manager import create_all; create_all()")
        if name == "new":
            app.keep_two_lines()
            make_side_table(app.host, address)
        make_errors(app, address)
        found[name] = (app, address)
    return found


def test_each_text_is_in_the_table_as_the_guide_shows_it(databases: dict[str, tuple[App, str]]) -> None:
    assert len(PAIRS) == 10
    (old,), (new,) = (answers(address, "SELECT error FROM ai_calls ORDER BY id") for _, address in databases.values())
    assert list(zip(old, new, strict=True)) == PAIRS


def test_questions_that_the_guide_says_go_on_find_the_same_calls(databases: dict[str, tuple[App, str]]) -> None:
    assert len(CONDITIONS) == 5
    questions = [f"SELECT id FROM ai_calls WHERE {condition} ORDER BY id" for condition in CONDITIONS]
    old, new = (answers(address, *questions) for _, address in databases.values())
    assert new == old
    assert all(old), "each of them finds something"


def test_questions_about_the_kind_answer_alike_in_a_store_and_in_an_adopted_table(
    tmp_path: pathlib.Path, databases: dict[str, tuple[App, str]]
) -> None:
    assert len(QUESTIONS) == 3
    own = App(tmp_path)
    own.keep_two_lines()
    make_errors(own, f"sqlite:///{tmp_path}/shop.db")
    embedded = json.loads(own.host.run(ASK, *QUESTIONS).stdout)

    app, address = databases["new"]
    owner(app.host, address, "migrate", "adopt", "--apply")
    adopted = json.loads(app.host.run(ASK, *QUESTIONS).stdout)

    def ordered(rows: list[list[dict[str, Any]]]) -> list[list[str]]:
        # Kinds of one count are in no order.
        return [sorted(json.dumps(row, sort_keys=True) for row in answer) for answer in rows]

    assert ordered(adopted) == ordered(embedded)
    kinds = {row["error_kind"]: row["calls"] for row in embedded[0]}
    assert kinds.items() >= {"network": 1, "timeout": 1, "rate_limit": 2, "auth": 1, "not_found": 2}.items()

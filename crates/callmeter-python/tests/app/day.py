"""A day at the shop: every way in which its services call a model. Prints the reports where the database is PostgreSQL."""

import json
import sys
import threading

from database.manager import create_all, engine, get_session
from services import reports, sales, support
from services.models import Hosts


def refused(work):
    try:
        work()
    except Exception as error:
        return type(error).__name__
    raise AssertionError("it was to fail")


def work():
    hosts = [Hosts(down=["gcp_a", "gcp_b", "small"][:count]) for count in range(4)]
    steps = [
        lambda: sales.sales_copy("Winterjacke", hosts[0], request_id="copy-1"),
        lambda: sales.sales_copy("Mütze", hosts[1], request_id="copy-2"),
        lambda: sales.sales_copy("Winterjacke", hosts[2], request_id="copy-3"),
        lambda: refused(lambda: sales.sales_copy("Schal", hosts[3], request_id="copy-4")),
        lambda: sales.analyse("how was July?", request_id="analysis-1"),
        lambda: sales.analyse("too much", request_id="analysis-2"),
        lambda: sales.analyse("garbage", request_id="analysis-3"),
        lambda: sales.check_price(42, model="gemini-2.5-pro")["text"],
        lambda: sales.check_price(43)["text"],
        lambda: support.answer("where is my parcel?", request_id="support-1"),
        lambda: support.answer("where is my parcel?", request_id="support-2"),
        lambda: refused(lambda: support.answer("garbage", request_id="support-3")),
    ]
    said = []
    for step in steps:
        said.append(step())
        # One at a time: SQLite refuses a second writer, and the old logger loses the row then.
        wait_for_threads()
    return said


def wait_for_threads():
    """Waits for the threads that the old logger writes in."""
    for thread in threading.enumerate():
        if thread.name == "ai-call-write":
            thread.join()


def write_to_the_end():
    """Waits for what the logger has still to write."""
    wait_for_threads()
    if "callmeter" in sys.modules:
        assert sys.modules["callmeter"].flush(30)


if __name__ == "__main__":
    create_all()
    said = work()
    write_to_the_end()
    answer = {"said": said, "reports": None}
    if engine.dialect.name == "postgresql":
        with get_session() as session:
            answer["reports"] = reports.run(session)
    print(json.dumps(answer))

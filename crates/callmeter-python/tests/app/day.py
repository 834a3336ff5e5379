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
    said = [
        sales.sales_copy("Winterjacke", request_id="copy-1"),
        sales.sales_copy("Mütze", Hosts(down=["gcp_a"]), request_id="copy-2"),
        sales.sales_copy("Winterjacke", Hosts(down=["gcp_a", "gcp_b"]), request_id="copy-3"),
        refused(lambda: sales.sales_copy("Schal", Hosts(down=["gcp_a", "gcp_b", "small"]), request_id="copy-4")),
        sales.analyse("how was July?", request_id="analysis-1"),
        sales.analyse("too much", request_id="analysis-2"),
        sales.analyse("garbage", request_id="analysis-3"),
        sales.check_price(42, model="gemini-2.5-pro")["text"],
        sales.check_price(43)["text"],
        support.answer("where is my parcel?", request_id="support-1"),
        support.answer("where is my parcel?", request_id="support-2"),
        refused(lambda: support.answer("garbage", request_id="support-3")),
    ]
    return said


def write_to_the_end():
    """Waits for what the logger has still to write."""
    for thread in threading.enumerate():
        if thread.name == "ai-call-write":
            thread.join()
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

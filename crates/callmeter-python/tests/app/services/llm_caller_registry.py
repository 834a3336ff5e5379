"""The callers that finance knows."""

import logging

KNOWN = {"sales_copy", "hermes_analyst", "price_check", "support_bot", "stock_forecast"}


def assert_known_caller(caller, strict=False):
    """Warns of a caller that is not listed; with ``strict`` it is an error."""
    if caller not in KNOWN:
        if strict:
            raise ValueError(f"unknown caller {caller}")
        logging.getLogger("services.llm_caller_registry").warning("unknown caller %s", caller)

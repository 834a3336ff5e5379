"""Answers to customers, from a cache where the question was asked before."""

from services.ai_call_logger import log_ai_call
from services.models import Gemini

_cache = {}


def answer(question, request_id=None):
    """An answer; the second time from the cache."""
    with log_ai_call("support_bot", "gemini", "gemini-2.5-flash", request_id=request_id) as ctx:
        ctx.add_meta("question_length", len(question))
        if question in _cache:
            ctx.set_cache_hit()
            ctx.set_status("cached")
            return _cache[question]
        reply = Gemini().generate(question)
        ctx.set_tokens(reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"])
        _cache[question] = reply["text"]
        return reply["text"]

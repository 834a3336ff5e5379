"""One durable row for every LLM call: who called, which provider and model really answered, tokens, time, cost, outcome.

>>> from callmeter import log_ai_call
>>> with log_ai_call("sales_copy", "ollama", "llama3.1:8b") as ctx:  # doctest: +SKIP
...     reply = ollama.generate(model="llama3.1:8b", prompt=prompt)
...     ctx.set_tokens(input=reply["prompt_eval_count"], output=reply["eval_count"])

Recording waits for nothing, raises nothing and keeps no word of a prompt or an answer. Where rows go:
``CALLMETER_STORE_URL``, else ``callmeter.toml``, else the database of the host's ``database.manager``, else a store on this
machine, which the command ``callmeter`` shows.
"""

from callmeter._decorate import logged_ai_call
from callmeter._native import CallState, __version__, log_ai_call
from callmeter._recorder import (
    SettingsError,
    flush,
    init,
    is_enabled,
    prometheus_collector,
    query,
    set_enabled,
    settings,
    stats,
)

__all__ = [
    "CallState",
    "SettingsError",
    "__version__",
    "flush",
    "init",
    "is_enabled",
    "log_ai_call",
    "logged_ai_call",
    "prometheus_collector",
    "query",
    "set_enabled",
    "settings",
    "stats",
]

"""Collects errors as libraries, drivers and providers' SDKs really raise them, with content and secrets inside.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python collect.py > ../golden/errors.jsonl
    CALLMETER_BLESS=1 cargo test -p callmeter-core errors      # adds what is stored of each

HTTP errors come from a server of this script that answers with the bodies the providers document; database
errors from a real PostgreSQL (Debian's package `postgresql`), SQLite, and a server that greets as MySQL does.
"""

import asyncio
import json
import sqlite3
import sys

import servers

CONTENT = "ZEBRA-QUILT-7731"
SECRET = "HUSHHUSH90210"
KEY = f"sk-proj-{SECRET}"
PROMPT = f"My secret plan is {CONTENT}"
SAY = [{"role": "user", "content": PROMPT}]


def openai_body(message, kind, code=None, param=None):
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic_body(message, kind):
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CRkqrVBW8tLcMFJYfMqJh"}


def gemini_body(code, message, status, details=None):
    error = {"code": code, "message": message, "status": status}
    return {"error": error | ({"details": details} if details else {})}


CASES = {
    "missing": (404, "gone"),
    "down": (503, "down"),
    "hang-up": (200, "hang up"),
    "wait": (200, "wait"),
    "cut": (200, "cut"),
    "html": (502, f"<html><body>Bad Gateway {CONTENT}</body></html>"),
    "o-key": (401, openai_body(f"Incorrect API key provided: {KEY}. You can find your API key at https://platform.openai.com/account/api-keys.", "invalid_request_error", "invalid_api_key")),
    "o-quota": (429, openai_body("You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.", "insufficient_quota", "insufficient_quota")),
    "o-rate": (429, openai_body(f"Rate limit reached for gpt-4o in organization org-{SECRET} on tokens per min (TPM): Limit 30000, Used 28431, Requested 4123. Please try again in 5.108s. Visit https://platform.openai.com/account/rate-limits to learn more.", "tokens", "rate_limit_exceeded")),
    "o-long": (400, openai_body("This model's maximum context length is 8192 tokens. However, your messages resulted in 10231 tokens. Please reduce the length of the messages.", "invalid_request_error", "context_length_exceeded", "messages")),
    "o-model": (404, openai_body("The model `gpt-9` does not exist or you do not have access to it.", "invalid_request_error", "model_not_found")),
    "o-echo": (400, openai_body(f"Invalid value for 'content': expected a string, got '{PROMPT}'.", "invalid_request_error", None, "messages.[0].content")),
    "o-server": (500, openai_body("The server had an error while processing your request. Sorry about that!", "server_error")),
    "o-filter": (400, openai_body("The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.", None, "content_filter", "prompt")),
    "a-key": (401, anthropic_body("invalid x-api-key", "authentication_error")),
    "a-rate": (429, anthropic_body("This request would exceed your organization's rate limit of 40,000 input tokens per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits.", "rate_limit_error")),
    "a-busy": (529, anthropic_body("Overloaded", "overloaded_error")),
    "a-long": (400, anthropic_body("prompt is too long: 205000 tokens > 200000 maximum", "invalid_request_error")),
    "a-echo": (400, anthropic_body(f"messages.0.content: Input should be a valid string, got {PROMPT}", "invalid_request_error")),
    "a-credit": (400, anthropic_body("Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.", "invalid_request_error")),
    "g-key": (400, gemini_body(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}])),
    "g-quota": (429, gemini_body(429, "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 20, model: gemini-2.5-flash\nPlease retry in 43.2s.", "RESOURCE_EXHAUSTED")),
    "g-model": (404, gemini_body(404, "models/gemini-9 is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.", "NOT_FOUND")),
    "g-busy": (503, gemini_body(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")),
    "g-long": (400, gemini_body(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "INVALID_ARGUMENT")),
    "g-echo": (400, gemini_body(400, f"Invalid value at 'contents[0].role', \"{PROMPT}\"", "INVALID_ARGUMENT")),
    "l-model": (404, {"error": "model 'llama9' not found"}),
    "l-memory": (500, {"error": "model requires more system memory (5.6 GiB) than is available (3.1 GiB)"}),
    "l-tools": (400, {"error": "registry.ollama.ai/library/gemma:2b does not support tools"}),
    "l-echo": (500, {"error": f"an error was encountered while running the model: {PROMPT}"}),
}


def requests_errors(base, port):
    import requests

    def raised(case, **options):
        requests.get(f"{base}/{case}?key={KEY}&prompt={CONTENT}", timeout=5, **options).raise_for_status()

    yield "requests", lambda: requests.post(f"http://127.0.0.1:{port}/api/generate?key={KEY}", timeout=1)
    yield "requests", lambda: requests.get(f"http://user:{SECRET}@nowhere.invalid/{CONTENT}", timeout=5)
    yield "requests", lambda: requests.get(f"{base}/wait", timeout=0.2)
    yield "requests", lambda: raised("missing")
    yield "requests", lambda: raised("down")
    yield "requests", lambda: raised("hang-up")
    yield "requests", lambda: raised("cut")
    yield "requests", lambda: requests.get(f"{base}/missing", timeout=5).json()
    yield "requests", lambda: requests.get(f"{base.replace('http', 'https')}/missing", timeout=5)
    yield "requests", lambda: requests.get(f"{PROMPT}")
    yield "requests", lambda: raised("missing", headers={"authorization": f"Bearer {KEY}\n"})


def httpx_errors(base, port):
    import httpx

    yield "httpx", lambda: httpx.post(f"http://127.0.0.1:{port}/api/chat", json={"prompt": PROMPT})
    yield "httpx", lambda: httpx.get(f"{base}/wait", timeout=0.2)
    yield "httpx", lambda: httpx.get(f"{base}/missing?key={KEY}").raise_for_status()
    yield "httpx", lambda: httpx.get(f"http://user:{SECRET}@127.0.0.1:{base.rsplit(':', 1)[1]}/down").raise_for_status()
    yield "httpx", lambda: httpx.get(f"{base}/hang-up")
    yield "httpx", lambda: httpx.get(f"{base}/cut")
    yield "httpx", lambda: httpx.get(f"{PROMPT}")
    yield "httpx", lambda: httpx.get(f"{base}/missing", headers={"authorization": f"Bearer {KEY}\n"})


def database_errors(postgres, port):
    import asyncpg
    import psycopg
    import psycopg2
    import pymysql
    import sqlalchemy

    good = f"host=127.0.0.1 port={postgres} user=callmeter dbname=postgres"
    wrong = f"postgres://shop:{SECRET}@127.0.0.1:{postgres}/postgres"
    insert = f"insert into users values ('{CONTENT}@example.com', 3)"

    def statement(driver, *statements):
        with driver.connect(good) as connection, connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)

    def with_asyncpg(sql, *values):
        async def go():
            connection = await asyncpg.connect(f"postgres://callmeter@127.0.0.1:{postgres}/postgres")
            await connection.execute(sql, *values)

        asyncio.run(go())

    yield "psycopg2", lambda: psycopg2.connect(f"postgres://shop:{SECRET}@127.0.0.1:{port}/shop")
    yield "psycopg2", lambda: psycopg2.connect(wrong)
    yield "psycopg2", lambda: psycopg2.connect(f"{SECRET} host=db")
    yield "psycopg2", lambda: statement(psycopg2, insert, insert)
    yield "psycopg2", lambda: statement(psycopg2, f"select '{CONTENT}'::int")
    yield "psycopg2", lambda: statement(psycopg2, f"selec '{CONTENT}'")
    yield "psycopg2", lambda: statement(psycopg2, "select * from ai_cals")
    yield "psycopg2", lambda: statement(psycopg2, "set statement_timeout = 50", "select pg_sleep(5)")
    yield "psycopg", lambda: psycopg.connect(f"postgres://shop:{SECRET}@127.0.0.1:{port}/shop")
    yield "psycopg", lambda: psycopg.connect(wrong)
    yield "psycopg", lambda: statement(psycopg, f"insert into users values ('{CONTENT}', null)")
    yield "asyncpg", lambda: asyncio.run(asyncpg.connect(wrong))
    yield "asyncpg", lambda: asyncio.run(asyncpg.connect(f"postgres://shop:{SECRET}@127.0.0.1:{port}/shop"))
    yield "asyncpg", lambda: with_asyncpg(f"{insert}; {insert}")
    yield "asyncpg", lambda: with_asyncpg("select $1::int", CONTENT)
    engine = sqlalchemy.create_engine(f"postgresql+psycopg2://callmeter@127.0.0.1:{postgres}/postgres")

    def twice():
        with engine.begin() as connection:
            sql = sqlalchemy.text("insert into users values (:email, 3)")
            connection.execute(sql, [{"email": CONTENT}, {"email": CONTENT}])

    yield "sqlalchemy", twice
    memory = sqlite3.connect(":memory:")
    memory.execute("create table orders (id integer primary key, note text unique)")
    yield "sqlite3", lambda: memory.execute("select * from order_items")
    yield "sqlite3", lambda: memory.executescript("insert into orders values (1, 'a'); insert into orders values (2, 'a')")
    yield "sqlite3", lambda: memory.execute(f"selec '{CONTENT}'")
    yield "pymysql", lambda: pymysql.connect(host="127.0.0.1", port=port, user="shop", password=SECRET)
    for code, state, message in [
        (1045, b"28000", "Access denied for user 'shop'@'172.17.0.1' (using password: YES)"),
        (1062, b"23000", f"Duplicate entry '{CONTENT}' for key 'users.email'"),
        (1064, b"42000", f"You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near '{CONTENT}' at line 1"),
    ]:
        with servers.mysql_greeter(code, state, message) as greeter:
            yield "pymysql", lambda greeter=greeter: pymysql.connect(host="127.0.0.1", port=greeter, user="shop", password=SECRET)


def provider_errors(base, port):
    import anthropic
    import ollama
    import openai
    from google import genai

    def with_openai(url, timeout=5):
        client = openai.OpenAI(api_key=KEY, base_url=url, max_retries=0, timeout=timeout)
        client.chat.completions.create(model="gpt-4o", messages=SAY)

    def with_anthropic(url, timeout=5):
        client = anthropic.Anthropic(api_key=KEY, base_url=url, max_retries=0, timeout=timeout)
        client.messages.create(model="claude-sonnet-4-6", max_tokens=8, messages=SAY)

    def with_gemini(url):
        client = genai.Client(api_key=KEY, http_options={"base_url": url})
        client.models.generate_content(model="gemini-2.5-flash", contents=PROMPT)

    def with_ollama(url):
        ollama.Client(host=url).chat(model="llama9", messages=SAY)

    for case in [case for case in CASES if case.startswith("o-")]:
        yield "openai", lambda case=case: with_openai(f"{base}/{case}")
    yield "openai", lambda: with_openai(f"{base}/html")
    yield "openai", lambda: with_openai(f"http://127.0.0.1:{port}/v1")
    yield "openai", lambda: with_openai(f"{base}/wait", timeout=0.2)
    for case in [case for case in CASES if case.startswith("a-")]:
        yield "anthropic", lambda case=case: with_anthropic(f"{base}/{case}")
    yield "anthropic", lambda: with_anthropic(f"{base}/html")
    yield "anthropic", lambda: with_anthropic(f"{base}/wait", timeout=0.2)
    for case in [case for case in CASES if case.startswith("g-")]:
        yield "google-genai", lambda case=case: with_gemini(f"{base}/{case}")
    for case in [case for case in CASES if case.startswith("l-")]:
        yield "ollama", lambda case=case: with_ollama(f"{base}/{case}")
    yield "ollama", lambda: with_ollama(f"http://127.0.0.1:{port}")


def main():
    port = servers.closed_port()
    with servers.http_server(CASES) as base, servers.postgres() as postgres:
        groups = [
            requests_errors(base, port),
            httpx_errors(base, port),
            database_errors(postgres, port),
            provider_errors(base, port),
        ]
        for group in groups:
            for library, fail in group:
                try:
                    fail()
                except Exception as error:
                    case = {"library": library, "class": type(error).__name__, "message": str(error)}
                    print(json.dumps(case, ensure_ascii=False))
                else:
                    sys.exit(f"a case of {library} raised nothing")


if __name__ == "__main__":
    main()

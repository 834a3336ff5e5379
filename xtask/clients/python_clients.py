"""Python clients as their users have them: each prints, a line of JSON a call, what it says that the call used.

`python python_clients.py NAME` runs one of them. Nothing here names an address: the clients find it in their environment.
"""

import json
import os
import sys

OVER = "fails-429"


def say(what, **figures):
    print(json.dumps({"call": what, **figures}), flush=True)


def openai_sdk():
    import openai

    client = openai.OpenAI(max_retries=0)
    messages = [{"role": "user", "content": "Hi"}]

    def chat(usage):
        if usage is None:
            return {"input": None, "output": None}
        details, written = usage.prompt_tokens_details, usage.completion_tokens_details
        return {
            "input": usage.prompt_tokens,
            "output": usage.completion_tokens,
            "cache_read": details and details.cached_tokens,
            "reasoning": written and written.reasoning_tokens,
        }

    def response(usage):
        return {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cache_read": usage.input_tokens_details.cached_tokens,
            "reasoning": usage.output_tokens_details.reasoning_tokens,
        }

    say("chat", **chat(client.chat.completions.create(model="gpt-5", messages=messages).usage))
    for name, options in [("not asked", {}), ("asked", {"stream_options": {"include_usage": True}})]:
        chunks = list(client.chat.completions.create(model="gpt-5", messages=messages, stream=True, **options))
        usage = next((chunk.usage for chunk in chunks if chunk.usage), None)
        empty = sum(not chunk.choices for chunk in chunks)
        say(f"chat stream, usage {name}", **chat(usage), chunks_without_choices=empty)
    say("response", **response(client.responses.create(model="o4-mini", input="Hi").usage))
    with client.responses.stream(model="gpt-5", input="Hi") as stream:
        say("response stream", **response(stream.get_final_response().usage))
    say("embedding", input=client.embeddings.create(model="text-embedding-3-small", input="Hi").usage.prompt_tokens)
    try:
        client.chat.completions.create(model=OVER, messages=messages)
    except openai.RateLimitError as error:
        say("error", status=error.status_code)


def anthropic_sdk():
    import anthropic

    client = anthropic.Anthropic(max_retries=0)
    request = {"model": "claude-sonnet-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}

    def figures(usage):
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        return {
            "input": usage.input_tokens + read + written,
            "output": usage.output_tokens,
            "cache_read": read,
            "cache_write": written,
        }

    say("message", **figures(client.messages.create(**request).usage))
    with client.messages.stream(**request) as stream:
        say("message stream", **figures(stream.get_final_message().usage))
    try:
        client.messages.create(**{**request, "model": OVER})
    except anthropic.RateLimitError as error:
        say("error", status=error.status_code)


def google_genai():
    from google import genai
    from google.genai import errors

    client = genai.Client()

    def figures(usage):
        thoughts = usage.thoughts_token_count or 0
        return {
            "input": usage.prompt_token_count,
            "output": usage.candidates_token_count + thoughts,
            "cache_read": usage.cached_content_token_count,
            "reasoning": usage.thoughts_token_count,
        }

    models = client.models
    say("content", **figures(models.generate_content(model="gemini-2.5-flash", contents="Hi").usage_metadata))
    chunks = list(models.generate_content_stream(model="gemini-3.5-flash", contents="Hi"))
    say("content stream", **figures(chunks[-1].usage_metadata))
    try:
        models.generate_content(model=OVER, contents="Hi")
    except errors.ClientError as error:
        say("error", status=error.code)


def ollama_sdk():
    import ollama

    messages = [{"role": "user", "content": "Hi"}]

    def figures(answer):
        return {"input": answer.prompt_eval_count, "output": answer.eval_count}

    say("chat", **figures(ollama.chat(model="qwen3.6", messages=messages)))
    say("chat stream", **figures(list(ollama.chat(model="llama3", messages=messages, stream=True))[-1]))
    try:
        ollama.chat(model=OVER, messages=messages)
    except ollama.ResponseError as error:
        say("error", status=error.status_code)


def llm_library():
    import llm

    model = llm.get_model("gpt-4o-mini")
    model.key = os.environ["OPENAI_API_KEY"]
    for name, stream in [("prompt", False), ("prompt stream", True)]:
        answer = model.prompt("Hi", stream=stream)
        answer.text()
        usage = answer.usage()
        say(name, input=usage.input, output=usage.output)


def local_model():
    """A model on this machine, which answers in the shapes of OpenAI and of Anthropic: twice each, so that it reads from its cache."""
    import anthropic
    import openai

    client, other = openai.OpenAI(max_retries=0), anthropic.Anthropic(max_retries=0)
    messages = [{"role": "user", "content": "Name a colour."}]
    request = {"model": "gemma3-270m", "max_tokens": 16, "messages": messages}
    question = {"model": "gemma3-270m", "input": "Name a colour.", "max_output_tokens": 16}

    def chat(usage):
        details = usage and usage.prompt_tokens_details
        return {
            "input": usage and usage.prompt_tokens,
            "output": usage and usage.completion_tokens,
            "cache_read": details and details.cached_tokens,
        }

    def response(usage):
        cached = usage.input_tokens_details.cached_tokens
        return {"input": usage.input_tokens, "output": usage.output_tokens, "cache_read": cached}

    def message(usage):
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        return {"input": usage.input_tokens + read + written, "output": usage.output_tokens, "cache_read": read}

    for _ in range(2):
        say("chat", **chat(client.chat.completions.create(**request).usage))
        for name, options in [("not asked", {}), ("asked", {"stream_options": {"include_usage": True}})]:
            chunks = list(client.chat.completions.create(**request, stream=True, **options))
            empty = sum(not chunk.choices for chunk in chunks)
            say(f"chat stream, usage {name}", **chat(chunks[-1].usage), chunks_without_choices=empty)
        say("response", **response(client.responses.create(**question).usage))
        # The SDK's own helper wants more of the first event than this server sends.
        events = list(client.responses.create(**question, stream=True))
        end = next(event.response for event in events if event.type == "response.completed")
        say("response stream", **response(end.usage))
        say("message", **message(other.messages.create(**request).usage))
        with other.messages.stream(**request) as stream:
            say("message stream", **message(stream.get_final_message().usage))
    try:
        too_long = [{"role": "user", "content": "colour " * 4_000}]
        client.chat.completions.create(**{**request, "messages": too_long})
    except openai.BadRequestError as error:
        say("error", status=error.status_code)


CLIENTS = {
    "openai": openai_sdk,
    "anthropic": anthropic_sdk,
    "google-genai": google_genai,
    "ollama": ollama_sdk,
    "llm": llm_library,
    "local": local_model,
}

if __name__ == "__main__":
    CLIENTS[sys.argv[1]]()

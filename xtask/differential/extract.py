"""Usage of the recorded exchanges by genai-prices' extractors: a second opinion.

Reads the exchanges (gzip, JSON lines) named first, writes one JSON line each to standard output: `id`, the
provider and flavour that genai-prices was asked as, and what it extracted (absent and 0 are one to it), or the
kind of its refusal. Left out are
bodies that are no JSON object, and exchanges that are no call.
"""

import gzip
import json
import sys

from genai_prices.data_snapshot import get_snapshot

FIELDS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_5m_tokens": "cache_write_5m_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "output_reasoning_tokens": "reasoning_tokens",
    "input_audio_tokens": "audio_input_tokens",
    "output_audio_tokens": "audio_output_tokens",
}

# callmeter's provider -> theirs, where the names differ.
PROVIDERS = {
    "azure_openai": "azure",
    "azure_ai_foundry": "azure",
    "aws_bedrock": "aws",
    "gemini": "google",
    "vertex_ai": "google",
    "gemini_openai_compat": "google",
    "xai": "x-ai",
    "github_copilot": "github-copilot",
    "moonshot": "moonshotai",
}

# Interface -> the flavours to try, the first that the provider has.
FLAVOURS = {
    "chat_completions": ["chat", "default"],
    "completions": ["chat", "default"],
    "responses": ["responses"],
    "responses_compact": ["responses"],
    "embeddings": ["embeddings"],
    "images": ["images"],
    "messages": ["anthropic", "default"],
    "generate_content": ["default"],
    "embed_content": ["default"],
    "converse": ["default"],
    "cohere_v2_chat": ["tokens"],
}

# Whose extractors serve a shape where the provider has none of its own.
SHAPES = {
    "chat_completions": ("openai", "chat"),
    "completions": ("openai", "chat"),
    "responses": ("openai", "responses"),
    "embeddings": ("openai", "embeddings"),
    "messages": ("anthropic", "default"),
}


def has(provider, flavour):
    extractors = provider.extractors if provider else None
    return any(extractor.api_flavor == flavour for extractor in extractors or [])


def asked_as(known, provider, api, body):
    theirs = PROVIDERS.get(provider, provider)
    if api == "invoke_model":
        usage = body.get("usage")
        is_anthropic = isinstance(usage, dict) and "input_tokens" in usage
        return ("aws", "anthropic") if is_anthropic else None
    if theirs == "aws" and api != "converse":
        # OpenAI's interfaces on Bedrock's hosts.
        return SHAPES.get(api)
    for flavour in FLAVOURS.get(api, []):
        if has(known.get(theirs), flavour):
            return theirs, flavour
    return SHAPES.get(api)


def document(exchange):
    """The document that carries the usage: the body, or a stream's last that has one."""
    response = exchange["response"]
    if response["body_encoding"] != "utf8":
        return None
    try:
        whole = json.loads(response["body"])
        return whole if isinstance(whole, dict) else last_of(whole)
    except ValueError:
        pass
    documents = []
    for line in response["body"].splitlines():
        if line.startswith("data:"):
            try:
                documents.append(json.loads(line[5:]))
            except ValueError:
                continue
    return last_of(documents)


def last_of(documents):
    found = None
    for one in documents:
        if not isinstance(one, dict):
            continue
        if isinstance(one.get("response"), dict) and one["response"].get("usage"):
            found = one["response"]
        elif one.get("usage") or one.get("usageMetadata"):
            found = one
    return found


def main(path):
    known = {provider.id: provider for provider in get_snapshot().providers}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            exchange = json.loads(line)
            expected = exchange["expected"]
            # Anthropic's streams share their usage out over two events, which no extractor joins.
            shared_out = expected["api"] == "messages" and expected["streaming"]
            body = None if shared_out or not expected["is_call"] else document(exchange)
            asked = body and asked_as(known, expected["provider"], expected["api"], body)
            if not asked:
                continue
            provider, flavour = asked
            out = {"id": exchange["id"], "asked_as": f"{provider}/{flavour}"}
            try:
                _, usage = known[provider].extract_usage(body, api_flavor=flavour)
                out["usage"] = {
                    ours: int(count)
                    for theirs, ours in FIELDS.items()
                    if (count := getattr(usage, theirs, None))
                }
            except Exception as error:  # what it cannot read is an answer too
                out["error"] = type(error).__name__
            print(json.dumps(out, separators=(",", ":")))


main(sys.argv[1])

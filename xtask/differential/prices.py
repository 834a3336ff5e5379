"""Questions of price, and what litellm and genai-prices answer: a line of JSON for each on standard output.

The questions are made from the records of the built-in book's sources, by a generator of this file's own, so that the
same sources give the same questions. litellm knows no dates and is asked for today alone; genai-prices is asked for the
middle of every period as well.
"""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import datetime
import gzip
import json
import sys

import genai_prices
import litellm
from litellm.types.utils import CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper, Usage

litellm.suppress_debug_info = True

NOW = "2026-11-20T12:00:00Z"

# The lists' name of a seller: litellm's, genai-prices', and every how many of its models is asked.
SELLERS = {
    "openai": ("openai", "openai", 1),
    "anthropic": ("anthropic", "anthropic", 1),
    "google": ("gemini", "google", 1),
    "deepseek": (None, "deepseek", 1),
    "xai": ("xai", "x-ai", 1),
    "mistral": ("mistral", "mistral", 1),
    "cohere": ("cohere_chat", "cohere", 1),
    "groq": ("groq", "groq", 1),
    "perplexity": ("perplexity", "perplexity", 1),
    "moonshot": ("moonshot", "moonshotai", 1),
    "zai": ("zai", "zai", 1),
    "minimax": ("minimax", "minimax", 1),
    "azure": ("azure", "azure", 2),
    "bedrock": ("bedrock", "aws", 3),
    "vertex": ("vertex_ai", None, 2),
    "together": ("together_ai", "together", 3),
    "fireworks": ("fireworks_ai", "fireworks", 4),
    "openrouter": ("openrouter", "openrouter", 4),
    "cerebras": ("cerebras", "cerebras", 1),
    "voyage": ("voyage", "voyageai", 1),
}

# Input in all, of it read from the cache, written to it; output, of it reasoning.
SHAPES = [
    (1_200, 0, 0, 340, 0),
    (90_000, 60_000, 0, 2_000, 0),
    (250_001, 0, 0, 3_000, 1_000),
    (400_000, 300_000, 0, 5_000, 4_000),
    (50_000, 10_000, 20_000, 800, 0),
]


def questions(path):
    with gzip.open(path, "rt") as records:
        records = [json.loads(line) for line in records]
    asked = {seller: 0 for seller in SELLERS}
    for record in records:
        seller, model = record["provider"], record["model"]
        if seller not in SELLERS or record.get("mode") not in (None, "responses", "embedding"):
            continue
        asked[seller] += 1
        if asked[seller] % SELLERS[seller][2] or model.startswith("models/"):
            continue
        last = record["periods"][-1]
        is_chat = record.get("mode") != "embedding"
        shapes = SHAPES[:1] if not is_chat else SHAPES[:4]
        if "cache_write_5m" in last["prices"]:
            shapes = SHAPES
        elif "cache_read" not in last["prices"] and asked[seller] % 10:
            # Of what has no price for cached reads a tenth is asked for them.
            shapes = [shape for shape in shapes if not shape[1]]
        for shape in shapes:
            shape = shape if is_chat else (shape[0], 0, 0, 0, 0)
            yield seller, model, NOW, shape, None
        for tier in last.get("variants", {}):
            if tier in ("batch", "flex", "priority"):
                yield seller, model, NOW, SHAPES[1], tier
        for name in record.get("ids", [])[:2]:
            yield seller, name, NOW, SHAPES[0], None
        for before, after in zip(record["periods"], record["periods"][1:]):
            for bound, seconds in ((before["until"], -60), (after["from"], 60)):
                if bound:
                    moment = datetime.datetime.fromisoformat(bound) + datetime.timedelta(seconds=seconds)
                    at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
                    yield seller, model, at, SHAPES[1], None


def litellm_says(seller, model, shape, tier):
    """The cost, or nothing where it has no price."""
    provider = SELLERS[seller][0]
    if provider is None or tier == "batch":
        return None
    total, read, written, output, reasoning = shape
    usage = Usage(
        prompt_tokens=total,
        completion_tokens=output,
        total_tokens=total + output,
        prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=read, cache_creation_tokens=written),
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=reasoning),
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
    )
    try:
        prompt, completion = litellm.cost_per_token(
            model=model, custom_llm_provider=provider, usage_object=usage, service_tier=tier
        )
    except Exception:
        return None
    return repr(prompt + completion)


def genai_says(seller, model, at, shape, tier):
    """The cost, or nothing where it has no price."""
    provider = SELLERS[seller][1]
    if provider is None:
        return None
    total, read, written, output, reasoning = shape
    usage = genai_prices.Usage(
        input_tokens=total,
        cache_read_tokens=read or None,
        cache_write_tokens=written or None,
        output_tokens=output,
        output_reasoning_tokens=reasoning or None,
    )
    moment = datetime.datetime.fromisoformat(at)
    context = {None: None, "batch": {"processing": "batch"}}.get(tier, {"service_tier": tier})
    try:
        price = genai_prices.calc_price(
            usage, model, provider_id=provider, genai_request_timestamp=moment, price_context=context
        )
    except Exception:
        return None
    return str(price.total_price)


def main():
    # What the packages print is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    lines = []
    for seller, model, at, shape, tier in questions(sys.argv[1]):
        total, read, written, output, reasoning = shape
        usage = {
            "input_tokens": total,
            "cache_read_tokens": read,
            "cache_write_tokens": written,
            "output_tokens": output,
            "reasoning_tokens": reasoning,
        }
        line = {"provider": seller, "model": model, "at": at}
        line["usage"] = {name: count for name, count in usage.items() if count or name == "input_tokens"}
        if tier:
            line["service_tier"] = tier
        said = {}
        if at == NOW and (answer := litellm_says(seller, model, shape, tier)) is not None:
            said["litellm"] = answer
        if (answer := genai_says(seller, model, at, shape, tier)) is not None:
            said["genai-prices"] = answer
        if said:
            lines.append(json.dumps({"line": line, "said": said}, separators=(",", ":")) + "\n")
    answers.writelines(lines)


main()

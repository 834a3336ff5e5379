"""What the sales people ask for: copy for an article, and whether a price is right."""

from services.ai_call_logger import log_ai_call, logged_ai_call
from services.models import Gemini, Hosts


def sales_copy(article, hosts=None, request_id=None):
    """A text for an article, from whichever host answers."""
    with log_ai_call("sales_copy", "gcp_ollama", "hermes3:latest", request_id=request_id, meta={"shop": "Köln"}) as ctx:
        ctx.set_prompt_hash(article)
        host, model, reply = (hosts or Hosts()).generate(article)
        ctx.set_provider(f"ollama_{host}")
        ctx.set_model(model)
        ctx.set_tokens(input=reply["prompt_eval_count"], output=reply["eval_count"])
        return reply["response"]


def analyse(question, gemini=None, hosts=None, request_id=None):
    """An analysis: Gemini, and Ollama where Gemini fails."""
    gemini = gemini or Gemini()
    with log_ai_call("hermes_analyst", "gemini", "gemini-2.5-flash", request_id=request_id) as ctx:
        try:
            reply = gemini.generate(question)
        except Exception as error:
            ctx.set_error(f"{type(error).__name__}: {error}")
            ctx.fallback_to_caller("sales_copy")
        else:
            ctx.set_tokens(reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"])
            ctx.set_rag_hit()
            return reply["text"]
    return sales_copy(question, hosts, request_id=f"{request_id}-2")


@logged_ai_call("price_check", "gemini", model_extractor=lambda args, kwargs: kwargs["model"])
def check_price(price, model="gemini-2.5-pro"):
    """Whether a price looks right; tokens are read from the reply."""
    return Gemini().generate(f"is {price} right?")

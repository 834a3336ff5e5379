"""The models of the shop, as far as a test needs them: three Ollama hosts and Gemini, with answers by the prompt."""


class HostDown(ConnectionError):
    """A host did not answer."""


class Hosts:
    """Ollama on three hosts that are tried in turn, the last with a smaller model."""

    ALL = (("gcp_a", "hermes3:latest"), ("gcp_b", "hermes3:latest"), ("small", "llama3.2:latest"))

    def __init__(self, down=()):
        self.down = set(down)

    def generate(self, prompt):
        """Host, model and answer of the first host that is up."""
        for host, model in self.ALL:
            if host not in self.down:
                return host, model, {"response": prompt.upper(), "prompt_eval_count": len(prompt), "eval_count": 2 * len(prompt)}
        raise HostDown("[Errno 111] Connection refused")


class Gemini:
    """Gemini, which knows a few prompts."""

    def generate(self, prompt):
        """An answer with usage, or what goes wrong."""
        if prompt == "too much":
            raise RuntimeError("429 RESOURCE_EXHAUSTED. {'error': {'code': 429, 'message': 'too much', 'status': 'RESOURCE_EXHAUSTED'}}")
        if prompt == "garbage":
            raise ValueError("cannot read the reply to 'garbage'")
        return {"text": prompt[::-1], "usage": {"prompt_tokens": 1_000 + len(prompt), "completion_tokens": 500}}

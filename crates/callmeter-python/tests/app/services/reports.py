"""The reports that finance and the operators run over ``ai_calls``."""

from sqlalchemy import text

REPORTS = {
    "spend by caller": "SELECT caller, count(*), sum(cost_usd) FROM ai_calls GROUP BY caller ORDER BY caller",
    "tokens by model": "SELECT model, sum(input_tokens), sum(output_tokens) FROM ai_calls GROUP BY model ORDER BY model",
    "status": "SELECT status, count(*) FROM ai_calls GROUP BY status ORDER BY status",
    "error rate by provider": "SELECT provider, avg(CASE WHEN status = 'error' THEN 1.0 ELSE 0.0 END) FROM ai_calls"
    " GROUP BY provider ORDER BY provider",
    "fallbacks": "SELECT caller, fallback_to, count(*) FROM ai_calls WHERE fallback_to IS NOT NULL"
    " GROUP BY caller, fallback_to ORDER BY caller",
    "hosts that are down": "SELECT count(*) FROM ai_calls WHERE error LIKE '%Connection refused%'",
    "rate limits": "SELECT count(*) FROM ai_calls WHERE error LIKE '%RESOURCE_EXHAUSTED%'",
    "calls with an error": "SELECT count(*) FROM ai_calls WHERE error IS NOT NULL",
    "cache": "SELECT cache_hit, rag_hit, count(*) FROM ai_calls GROUP BY cache_hit, rag_hit ORDER BY 1, 2",
    "one request": "SELECT caller, provider, model, status FROM ai_calls WHERE request_id LIKE 'analysis-2%' ORDER BY request_id",
    "today": "SELECT count(*) FROM ai_calls WHERE created_at > CURRENT_TIMESTAMP - INTERVAL '1 day'",
    "shops": "SELECT meta->>'shop', count(*) FROM ai_calls GROUP BY 1 ORDER BY 1 NULLS LAST",
    "same question": "SELECT meta->>'prompt_hash', count(*) FROM ai_calls WHERE meta ? 'prompt_hash' GROUP BY 1 ORDER BY 1",
}


def run(session):
    """Every report's rows."""
    return {name: [[str(value) for value in row] for row in session.execute(text(sql))] for name, sql in REPORTS.items()}

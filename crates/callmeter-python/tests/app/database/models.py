"""The tables."""

from sqlalchemy import JSON, Boolean, Column, DateTime, Integer, MetaData, Numeric, String, Table, func
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

ai_calls = Table(
    "ai_calls",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("created_at", DateTime(timezone=True), server_default=func.now(), nullable=False),
    Column("caller", String(64), nullable=False),
    Column("provider", String(32), nullable=False),
    Column("model", String(128), nullable=False),
    Column("input_tokens", Integer, nullable=False, default=0),
    Column("output_tokens", Integer, nullable=False, default=0),
    Column("duration_ms", Integer, nullable=False, default=0),
    Column("status", String(16), nullable=False),
    Column("fallback_to", String(64)),
    Column("cost_usd", Numeric(10, 6), nullable=False, default=0),
    Column("cache_hit", Boolean, nullable=False, default=False),
    Column("rag_hit", Boolean, nullable=False, default=False),
    Column("request_id", String(128)),
    Column("error", String(2000)),
    Column("meta", JSON().with_variant(JSONB, "postgresql"), nullable=False),
)

//! One durable row for every LLM call.
pub mod settings;

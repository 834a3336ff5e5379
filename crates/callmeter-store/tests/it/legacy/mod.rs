//! The user's own table `ai_calls`, on a real PostgreSQL.

mod adopt;
mod contract;
mod faults;
mod reader;
mod shapes;
mod sink;
mod support;

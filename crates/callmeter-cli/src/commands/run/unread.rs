//! Connections that could not be read, because their client speaks TLS to a host of its own choosing; and the one
//! line of code that would let them be read.

use crate::print;

/// The end of a host, and what its clients need. `CALLMETER_RUN_URL` is set for the child.
const REMEDIES: &[(&str, &str)] = &[
    (
        "api.mistral.ai",
        "set server_url=os.environ[\"CALLMETER_RUN_URL\"] + \"/u/mistral\"",
    ),
    (
        "api.openai.com",
        "set base_url= of the client, or unset it: OPENAI_BASE_URL is set",
    ),
    (
        "chatgpt.com",
        "a sign-in with ChatGPT is never led elsewhere",
    ),
    (
        "api.anthropic.com",
        "set base_url= of the client, or unset it: ANTHROPIC_BASE_URL is set",
    ),
    (
        "generativelanguage.googleapis.com",
        "set baseURL: process.env.GOOGLE_GEMINI_BASE_URL + \"/v1beta\" in createGoogleGenerativeAI",
    ),
    ("api.cohere.com", "set base_url=os.environ[\"CO_API_URL\"]"),
    ("api.groq.com", "set base_url=os.environ[\"GROQ_BASE_URL\"]"),
];

/// What a host's clients need to be read.
pub(super) fn remedy(host: &str) -> &'static str {
    let found = REMEDIES.iter().find(|(known, _)| *known == host);
    found.map_or(
        "give its client the address of a route: docs/guides/run.md",
        |(_, remedy)| remedy,
    )
}

/// A line about a host.
pub(super) fn line(host: &str, connections: u64) -> String {
    let connections = print::plural(connections, "connection");
    format!("not readable: {connections} to {host} ({})", remedy(host))
}

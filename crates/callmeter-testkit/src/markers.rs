//! What must never be found in anything that callmeter writes (promise CM-6).
//!
//! The texts look like the real thing: a marker stands where content stands, and each secret has the
//! shape that its issuer gives it.

/// Stands in every prompt, reply and tool argument of a privacy test.
pub const CONTENT: &str = "ZEBRA-QUILT-7731";

/// Stands in every secret of a privacy test.
pub const SECRET: &str = "HUSHHUSH90210";

/// Texts of errors as real libraries raise them, with content and secrets inside.
pub fn realistic_errors() -> Vec<String> {
    [
        "Error code: 400 - {'error': {'message': \"Invalid value for 'messages[0].content': {C}\", 'type': 'invalid_request_error'}}",
        "Incorrect API key provided: sk-proj-{S}. You can find your API key at the dashboard.",
        "HTTPSConnectionPool(host='api.example.com', port=443): Max retries exceeded with url: /v1/chat?key=AIza{S}&prompt={C}",
        "connection to server at \"db\", user \"app\" failed: postgres://app:{S}@db/shop",
        "thread panicked: assertion failed: reply == \"{C}\"",
        "Traceback (most recent call last):\n  File \"app.py\", line 3, in ask\n    prompt=\"{C}\"\nValueError: Bearer {S}",
        "caused by: tool call arguments {\"query\": \"{C}\"} could not be parsed",
    ]
    .iter()
    .map(|text| text.replace("{C}", CONTENT).replace("{S}", SECRET))
    .collect()
}

/// The first marker found in `bytes`, in plain text or in UTF-16.
pub fn found_in(bytes: &[u8]) -> Option<&'static str> {
    [CONTENT, SECRET].into_iter().find(|marker| {
        let wide: Vec<u8> = marker.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        has(marker.as_bytes()) || has(&wide)
    })
}

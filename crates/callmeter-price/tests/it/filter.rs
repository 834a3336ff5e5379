//! The filter that scripts use: bad lines.

use callmeter_price::Book;
use callmeter_price::filter::price_line;

#[test]
fn a_bad_line_says_what_is_wrong() {
    let book = Book::market();
    for (text, says) in [
        ("", "not a pricing line"),
        ("[]", "not a pricing line"),
        (r#"{"provider":"openai"}"#, "missing field"),
        (
            r#"{"provider":"o","model":"m","at":"soon","usage":{}}"#,
            "'at' is not a date",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"input_tokens":-1}}"#,
            "'input_tokens' is no count",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"input_tokens":1.5}}"#,
            "whole number",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"input_tokens":"9"}}"#,
            "whole number",
        ),
        (
            r#"{"provider":"o","model":"m","at":"2026-01-01","usage":{"tokens":9}}"#,
            "no field 'tokens'",
        ),
    ] {
        let error = price_line(&book, text).unwrap_err();
        assert!(
            error.starts_with(r#"{"error":"#) && error.contains(says),
            "{error}"
        );
    }
}

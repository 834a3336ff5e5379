//! The same bytes give the same reading however they are cut; cut off, they give what was known.

use callmeter_core::Flags;
use callmeter_wire::{RequestFacts, ResponseReader, inspect};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Exchange, exchanges, frame, text, tokens};

/// One body of each framing and dialect.
fn short_bodies() -> Vec<Exchange<'static>> {
    let chunk = "{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9kZWx0YSIsInVzYWdlIjp7Im91dHB1dF90b2tlbnMiOjR9fQ==\",\"p\":\"ab\"}";
    let mut frames = frame(
        &[(":message-type", "event"), (":event-type", "chunk")],
        chunk.as_bytes(),
    );
    frames.extend(frame(
        &[
            (":message-type", "exception"),
            (":exception-type", "modelStreamErrorException"),
        ],
        b"{\"message\":\"gone\"}",
    ));
    vec![
        Exchange::json(
            "/v1/chat/completions",
            "{\"id\":\"c\\u00e9\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"\\\"}\\ud83d\\ude00\"},\"finish_reason\":\"stop\"}],\
             \"usage\":{\"prompt_tokens\":12.0,\"completion_tokens\":3e0,\"total_tokens\":15}}",
        ),
        Exchange::new(
            "/v1/messages",
            "text/event-stream",
            "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":5,\
             \"cache_read_input_tokens\":7,\"cache_creation_input_tokens\":0,\"output_tokens\":1}}}\r\n\r\n\
             event: message_delta\r\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\r\n\
             data: \"usage\":{\"output_tokens\":9}}\r\n\r\nevent: message_stop\r\ndata: {\"type\":\"message_stop\"}",
        ),
        Exchange::new(
            "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
            "application/json",
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}],\"usageMetadata\":{\"promptTokenCount\":3}}\n,\n\
             {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"thoughtsTokenCount\":4,\
             \"totalTokenCount\":7}}]",
        ),
        Exchange::new(
            "/api/chat",
            "application/x-ndjson",
            "{\"message\":{\"content\":\"x\"},\"done\":false}\n{\"done\":true,\"done_reason\":\"stop\",\"eval_count\":2}\n",
        ),
        Exchange::new(
            "/model/anthropic.x/invoke-with-response-stream",
            "application/vnd.amazon.eventstream",
            frames,
        ),
    ]
}

#[test]
fn short_bodies_give_the_same_reading_at_every_pair_of_cuts() {
    for exchange in short_bodies() {
        let whole = exchange.read();
        let facts = RequestFacts::from_line("POST", exchange.path);
        for first in 0..=exchange.body.len() {
            for step in [1, 2, 13] {
                let second = (first + step).min(exchange.body.len());
                let mut reader =
                    ResponseReader::new(&facts, Some(200), exchange.headers.iter().copied());
                reader.push(&exchange.body[..first]);
                reader.push(&exchange.body[first..second]);
                reader.push(&exchange.body[second..]);
                assert_eq!(reader.finish(), whole, "{} at {first}", exchange.path);
            }
        }
    }
}

#[test]
fn a_text_keeps_the_blanks_that_it_begins_with_wherever_it_is_cut() {
    let body = "{\"id\":\"c\",\" model\":\"x\",\"usage\":{\"prompt_tokens\":\"  12\"},\"choices\":[{\"finish_reason\":\"a  b\"}]}";
    let whole = Exchange::json("/v1/chat/completions", body).read();
    assert_eq!((whole.model.as_deref(), tokens(&whole).0), (None, Some(12)));
    for chunk in 1..body.len() {
        let exchange = Exchange::json("/v1/chat/completions", body);
        assert_eq!(exchange.read_in(chunk), whole, "{chunk}");
    }
}

#[test]
fn a_body_cut_anywhere_never_invents_a_figure() {
    for exchange in short_bodies() {
        let whole = tokens(&exchange.read());
        for end in 0..exchange.body.len() {
            let cut = Exchange {
                body: exchange.body[..end].to_vec(),
                headers: exchange.headers.clone(),
                ..exchange
            };
            let reading = cut.read();
            let (input, output) = tokens(&reading);
            assert!(
                input.is_none() || input == whole.0,
                "{} at {end}",
                exchange.path
            );
            assert!(
                output.is_none() || output == whole.1,
                "{} at {end}",
                exchange.path
            );
        }
    }
}

#[test]
fn recorded_streams_cut_in_half_keep_only_figures_that_were_sent() {
    let mut seen = 0;
    for line in exchanges() {
        let mut exchange: Value = serde_json::from_str(&line).unwrap();
        let stream = exchange["expected"]["streaming"] == Value::Bool(true);
        if !stream || text(&exchange, "/response/body_encoding") != "utf8" {
            continue;
        }
        let body = text(&exchange, "/response/body").to_owned();
        let half = (0..=body.len() / 2)
            .rev()
            .find(|at| body.is_char_boundary(*at))
            .unwrap();
        exchange["response"]["body"] = body[..half].into();
        let reading = inspect(&exchange.to_string(), None).unwrap().reading;
        seen += 1;
        // An estimate is nowhere made: what is there was sent in that half.
        if let Some(output) = reading.usage.output_tokens {
            let sent = body[..half].contains(&output.to_string()) || output == 0;
            let summed =
                reading.usage.reasoning_tokens.is_some() || reading.usage.usage_rule.is_some();
            assert!(sent || summed, "{}", text(&exchange, "/id"));
        }
    }
    assert!(seen > 500);
}

#[test]
fn a_stream_that_ended_early_is_marked_and_its_placeholder_is_no_count() {
    let cut = Exchange::events(
        "/v1/messages",
        &["{\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}"],
    )
    .read();
    assert_eq!(tokens(&cut), (Some(25), None));
    assert_eq!(cut.stream_complete, Some(false));
    assert!(cut.flags.contains(Flags::STREAM_CUT));
    assert_eq!(cut.model.as_deref(), Some("claude-x"));
}

#[test]
fn a_usage_object_that_was_cut_open_counts_for_nothing() {
    // With the cache part missing the input would be far too small.
    let cut = Exchange::json(
        "/v1/messages",
        "{\"type\":\"message\",\"usage\":{\"input_tokens\":4,\"output_tokens\":9,\"cache_read_input_tok",
    )
    .read();
    assert_eq!(tokens(&cut), (None, None));
    assert!(cut.flags.contains(Flags::STREAM_CUT));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_cuts_of_recorded_bodies_give_the_same_reading(
        pick in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        thread_local! {
            static LINES: Vec<String> = exchanges();
        }
        let line = LINES.with(|lines| lines[pick.index(lines.len())].clone());
        let exchange: Value = serde_json::from_str(&line).unwrap();
        prop_assume!(text(&exchange, "/response/body_encoding") == "utf8");
        let body = text(&exchange, "/response/body").as_bytes();
        let facts = inspect(&line, None).unwrap().facts;
        let content_type = exchange["response"]["content_type"].as_str().unwrap_or_default();
        let read = |cuts: &[usize]| {
            let mut reader = ResponseReader::new(&facts, Some(200), [("content-type", content_type)]);
            let mut from = 0;
            for cut in cuts {
                reader.push(&body[from..*cut]);
                from = *cut;
            }
            reader.push(&body[from..]);
            reader.finish()
        };
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        at.sort_unstable();
        prop_assert_eq!(read(&at), read(&[]));
    }
}

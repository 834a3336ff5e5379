//! Why a generation ended: the providers' words in one vocabulary.
//!
//! The raw word stays on the row; this tells what it means. Sources: the providers' API references.

use std::fmt;

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finish {
    /// It was done.
    Stop,
    /// It ran into a limit of length.
    Length,
    /// It wants a tool called.
    ToolCalls,
    /// A filter stopped it.
    ContentFilter,
    /// It failed.
    Error,
    /// Anything else, or not ended yet.
    Other,
}

impl Finish {
    /// The meaning of a provider's word. Case does not count.
    ///
    /// ```
    /// use callmeter_wire::Finish;
    /// assert_eq!(Finish::of("max_tokens"), Finish::Length);
    /// assert_eq!(Finish::of("SAFETY"), Finish::ContentFilter);
    /// ```
    pub fn of(raw: &str) -> Self {
        let mut word = [0_u8; 40];
        let Some(word) = word.get_mut(..raw.len()) else {
            return Self::Other;
        };
        word.copy_from_slice(raw.as_bytes());
        word.make_ascii_lowercase();
        match &*word {
            b"stop" | b"end_turn" | b"stop_sequence" | b"complete" | b"completed" | b"eos"
            | b"eos_token" | b"endoftext" | b"finish" | b"eosfound" | b"finished" | b"word"
            | b"1" => Self::Stop,
            b"length"
            | b"max_tokens"
            | b"max_output_tokens"
            | b"model_length"
            | b"limit"
            | b"model_context_window_exceeded"
            | b"maxpredictedtokensreached"
            | b"incomplete"
            | b"contextlengthreached"
            | b"2" => Self::Length,
            b"tool_calls" | b"function_call" | b"tool_use" | b"tool_call" | b"tooluse"
            | b"toolcalls" | b"requires_action" => Self::ToolCalls,
            b"content_filter"
            | b"refusal"
            | b"safety"
            | b"recitation"
            | b"blocklist"
            | b"prohibited_content"
            | b"spii"
            | b"image_safety"
            | b"image_prohibited_content"
            | b"image_recitation"
            | b"guardrail_intervened"
            | b"content_filtered"
            | b"model_armor"
            | b"jailbreak"
            | b"error_toxic"
            | b"language"
            | b"3" => Self::ContentFilter,
            b"error"
            | b"failed"
            | b"malformed_function_call"
            | b"unexpected_tool_call"
            | b"too_many_tool_calls"
            | b"malformed_model_output"
            | b"malformed_tool_use"
            | b"insufficient_system_resource"
            | b"timeout" => Self::Error,
            _ => Self::Other,
        }
    }

    /// The word of the vocabulary.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Error => "error",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_all_providers_have_one_meaning() {
        for (raw, finish) in [
            ("end_turn", Finish::Stop),
            ("COMPLETE", Finish::Stop),
            ("model_length", Finish::Length),
            ("TOOL_CALL", Finish::ToolCalls),
            ("PROHIBITED_CONTENT", Finish::ContentFilter),
            ("MALFORMED_FUNCTION_CALL", Finish::Error),
            ("pause_turn", Finish::Other),
            ("a word of tomorrow", Finish::Other),
            (&"x".repeat(400), Finish::Other),
        ] {
            assert_eq!(Finish::of(raw), finish, "{raw}");
        }
    }
}

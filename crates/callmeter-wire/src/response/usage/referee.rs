//! What a reported total says about parts that stand outside the counts.
//!
//! The gap `total − (input + output)` is explained by the first part that is as large: reasoning beside
//! the completion (xAI), audio beside the prompt (Mistral), cached input beside a copied exclusive
//! input. A gap with nothing to explain it is hidden thinking of Gemini's compatible endpoint, and
//! with any other model a figure to be doubted.

use super::{Parts, sum};

/// Puts right `parts` by a total.
pub(crate) fn apply(parts: &mut Parts, total: Option<u64>, model: &str) {
    let (Some(total), Some(input)) = (total, parts.input) else {
        return;
    };
    let Some(output) = parts.output else {
        return;
    };
    let Some(gap) = total.checked_sub(input.saturating_add(output)) else {
        if total > 0 {
            parts.notes.push("?total");
        }
        return;
    };
    if gap == 0 {
        return;
    }
    let cached = sum(&[parts.cache_read, parts.cache_write]);
    if parts.reasoning == Some(gap) {
        parts.output = Some(output.saturating_add(gap));
        parts.notes.push("+reasoning");
    } else if parts.audio_in == Some(gap) {
        parts.input = Some(input.saturating_add(gap));
        parts.notes.push("+audio");
    } else if cached == Some(gap) || parts.cache_read == Some(gap) {
        parts.input = Some(input.saturating_add(gap));
        parts.notes.push("+cache");
    } else if is_gemini(model) && parts.reasoning.unwrap_or(0) == 0 {
        parts.output = Some(output.saturating_add(gap));
        parts.notes.push("+hidden");
    } else {
        parts.notes.push("?total");
    }
}

/// Whether a model thinks without saying so in a compatible shape.
pub(crate) fn is_gemini(model: &str) -> bool {
    let model = model.rsplit('/').next().unwrap_or_default();
    model
        .get(..6)
        .is_some_and(|head| head.eq_ignore_ascii_case("gemini"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(parts: Parts, total: u64, model: &str) -> (Option<u64>, Option<u64>, String) {
        let mut parts = parts;
        apply(&mut parts, Some(total), model);
        (parts.input, parts.output, parts.notes.concat())
    }

    fn counted(input: u64, output: u64) -> Parts {
        Parts {
            input: Some(input),
            output: Some(output),
            ..Parts::default()
        }
    }

    #[test]
    fn the_gap_says_what_stands_outside() {
        let mut xai = counted(288, 27);
        xai.reasoning = Some(350);
        assert_eq!(
            judged(xai, 665, "grok-3-mini"),
            (Some(288), Some(377), "+reasoning".into())
        );
        let mut mistral = counted(9, 201);
        mistral.audio_in = Some(375);
        assert_eq!(
            judged(mistral, 585, "voxtral"),
            (Some(384), Some(201), "+audio".into())
        );
        let mut copied = counted(10, 5);
        copied.cache_read = Some(90);
        copied.cache_write = Some(7);
        assert_eq!(
            judged(copied, 112, "claude"),
            (Some(107), Some(5), "+cache".into())
        );
        assert_eq!(
            judged(counted(66, 6), 100, "google/gemini-2.5-pro"),
            (Some(66), Some(34), "+hidden".into())
        );
        assert_eq!(
            judged(counted(66, 6), 100, "m"),
            (Some(66), Some(6), "?total".into())
        );
        assert_eq!(
            judged(counted(66, 6), 72, "m"),
            (Some(66), Some(6), String::new())
        );
    }
}

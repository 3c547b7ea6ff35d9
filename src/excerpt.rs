//! What is shown of a text that others chose.

use std::borrow::Cow;

/// In characters.
const LONGEST: usize = 200;

/// The beginning of a text that an authority chose, for a log or an error: as long as it likes is too long for a line.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(LONGEST) {
        None => text.into(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let long = |length| "é".repeat(length);
        assert_eq!(excerpt(&long(200)), long(200));
        assert_eq!(excerpt(&long(201)), format!("{}…", long(200)));
        assert_eq!(excerpt(""), "");
    }
}

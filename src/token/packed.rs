//! Texts in a row, in one piece of memory.
//!
//! A cache remembers many tokens and reads few of their facts, so these are better small, and close together, than
//! quick. Before each text stands its length: one byte, which is enough for most, or [`LONG`] and eight more.
//! [`ABSENT`] stands for no text. A text may hold such a row itself.

const ABSENT: u8 = 255;
const LONG: u8 = 254;

/// A row in the making.
#[derive(Default)]
pub(super) struct Row(Vec<u8>);

impl Row {
    pub(super) fn with_room_for(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn push(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    pub(super) fn push_optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.push(text),
            None => self.0.push(ABSENT),
        }
    }

    pub(super) fn push_row(&mut self, row: &Self) {
        self.push_bytes(&row.0);
    }

    pub(super) fn push_optional_row(&mut self, row: Option<&Self>) {
        match row {
            Some(row) => self.push_row(row),
            None => self.0.push(ABSENT),
        }
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(length) if length < LONG => self.0.push(length),
            _ => {
                self.0.push(LONG);
                self.0.extend((bytes.len() as u64).to_le_bytes());
            }
        }
        self.0.extend(bytes);
    }

    pub(super) fn into_bytes(self) -> Box<[u8]> {
        self.0.into()
    }
}

impl<'t> FromIterator<&'t str> for Row {
    fn from_iter<T: IntoIterator<Item = &'t str>>(texts: T) -> Self {
        let mut row = Self::default();
        texts.into_iter().for_each(|text| row.push(text));
        row
    }
}

/// What stands in a row, made by [`Row::into_bytes`], one by one.
pub(super) struct Packed<'p>(pub(super) &'p [u8]);

impl<'p> Packed<'p> {
    /// The row in the next place.
    pub(super) fn next_row(&mut self) -> Option<Packed<'p>> {
        self.next_bytes().flatten().map(Packed)
    }

    /// The texts that are left, of which none is absent.
    pub(super) fn texts(self) -> impl Iterator<Item = &'p str> {
        self.flatten()
    }

    /// `None` at the end.
    #[inline]
    fn next_bytes(&mut self) -> Option<Option<&'p [u8]>> {
        let (&first, rest) = self.0.split_first()?;
        let (length, rest) = match first {
            ABSENT => {
                self.0 = rest;
                return Some(None);
            }
            LONG => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::try_from(u64::from_le_bytes(*length)).ok()?, rest)
            }
            length => (usize::from(length), rest),
        };
        let (bytes, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(bytes))
    }
}

impl<'p> Iterator for Packed<'p> {
    type Item = Option<&'p str>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // It was made of a text.
        Some(self.next_bytes()?.map(|bytes| std::str::from_utf8(bytes).unwrap_or_default()))
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        for _ in 0..n {
            self.next_bytes()?;
        }
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_in_their_places_whatever_their_length_and_the_absent_ones_too() {
        let texts: Vec<String> = [0, 1, 252, 253, 254, 255, 256, 70_000].map(|length| "x".repeat(length)).into();
        let stated: Vec<Option<&str>> = texts.iter().flat_map(|text| [None, Some(&**text), Some("ä")]).collect();
        let mut row = Row::default();
        stated.iter().for_each(|text| row.push_optional(*text));
        let bytes = row.into_bytes();
        assert_eq!(Packed(&bytes).collect::<Vec<_>>(), stated);
        for (place, text) in stated.iter().enumerate() {
            assert_eq!(Packed(&bytes).nth(place), Some(*text), "{place}");
        }
        assert_eq!(Packed(&bytes).nth(stated.len()), None);
    }

    #[test]
    fn a_row_in_a_row_is_not_taken_for_what_stands_after_it() {
        let mut row = Row::default();
        row.push_row(&["a", "", "b"].into_iter().collect());
        row.push_optional_row(None);
        row.push_optional_row(Some(&Row::default()));
        row.push("c");
        let bytes = row.into_bytes();
        let mut packed = Packed(&bytes);
        assert_eq!(packed.next_row().map(|row| row.texts().collect::<Vec<_>>()), Some(vec!["a", "", "b"]));
        assert!(packed.next_row().is_none());
        assert_eq!(packed.next_row().map(|row| row.texts().count()), Some(0));
        assert_eq!(packed.next(), Some(Some("c")));
        assert_eq!(packed.next(), None);
    }

    #[test]
    fn a_text_of_usual_length_takes_one_byte_more_than_it_has() {
        let size = |length| ["x".repeat(length).as_str()].into_iter().collect::<Row>().into_bytes().len();
        assert_eq!([0, 1, 253, 254].map(size), [1, 2, 254, 263]);
    }
}

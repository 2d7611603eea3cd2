//! A position in a line of the text form, and the words that stand on it.

use crate::spelling::Spelled;

/// What should have stood at a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Stable slug of the complaint.
    pub code: &'static str,
    /// Column in characters, counted from one.
    pub column: u32,
    /// What was expected, as the end of "expected …".
    pub what: String,
}

/// Text of one line with a position.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a str,
    column: u32,
}

impl<'a> Cursor<'a> {
    /// Starts at `text`, whose first character stands in `column`.
    pub fn new(text: &'a str, column: u32) -> Self {
        Self { rest: text, column }
    }

    /// What is left of the line.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// The column of the next character, counted from one.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// A complaint about what stands here.
    pub fn expected(&self, what: impl Into<String>) -> Expected {
        self.complain("asm-syntax", what)
    }

    /// A complaint with a slug of its own.
    pub fn complain(&self, code: &'static str, what: impl Into<String>) -> Expected {
        Expected {
            code,
            column: self.column,
            what: what.into(),
        }
    }

    /// Goes over spaces and over a comment (`;` to the end of the line).
    pub fn space(&mut self) {
        let trimmed = self.rest.trim_start_matches([' ', '\t', '\r']);
        self.advance(self.rest.len() - trimmed.len());
        if self.rest.starts_with(';') {
            self.advance(self.rest.len());
        }
    }

    /// Whether nothing but space and a comment is left.
    pub fn at_end(&mut self) -> bool {
        self.space();
        self.rest.is_empty()
    }

    /// Goes over `text` if it stands here.
    pub fn eat(&mut self, text: &str) -> bool {
        let found = self.rest.starts_with(text);
        if found {
            self.advance(text.len());
        }
        found
    }

    /// Goes over `text`, which must stand here.
    pub fn require(&mut self, text: &str) -> Result<(), Expected> {
        if self.eat(text) {
            Ok(())
        } else {
            Err(self.expected(format!("`{text}`")))
        }
    }

    /// Takes the characters that belong to a word: letters, digits, `_`, `-`, `.`.
    pub fn word(&mut self) -> &'a str {
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = self.rest.find(|c| !inside(c)).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.advance(end);
        word
    }

    /// Takes the characters up to the next space.
    pub fn until_space(&mut self) -> &'a str {
        let end = self.rest.find([' ', '\t', '\r']).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.advance(end);
        word
    }

    /// A number: decimal, or hexadecimal after `0x`.
    pub fn number<T: TryFrom<u64>>(&mut self, what: &str) -> Result<T, Expected> {
        let (digits, radix) = match self.rest.strip_prefix("0x") {
            Some(digits) => (digits, 16),
            None => (self.rest, 10),
        };
        let count = digits
            .find(|c: char| !c.is_digit(radix))
            .unwrap_or(digits.len());
        let value = u64::from_str_radix(&digits[..count], radix).ok();
        let value = value.and_then(|value| T::try_from(value).ok());
        let value = value.ok_or_else(|| self.expected(what))?;
        self.advance(self.rest.len() - digits.len() + count);
        Ok(value)
    }

    /// A member of a closed set by its name.
    pub fn spelled<T: Spelled>(&mut self) -> Result<T, Expected> {
        let start = self.clone();
        T::from_name(self.word()).ok_or_else(|| {
            let names: Vec<_> = T::ALL.iter().map(|each| each.name()).collect();
            start.expected(format!("{} ({})", T::WHAT, names.join(", ")))
        })
    }

    /// A string in quotes, with the escapes of [`quote`].
    pub fn string(&mut self) -> Result<String, Expected> {
        let start = self.clone();
        let unfinished = || start.expected("a string in double quotes");
        if !self.eat("\"") {
            return Err(unfinished());
        }
        let mut value = String::new();
        loop {
            let next = self.rest.chars().next().ok_or_else(unfinished)?;
            if next == '\\' {
                value.push(self.escape()?);
                continue;
            }
            self.advance(next.len_utf8());
            if next == '"' {
                return Ok(value);
            }
            value.push(next);
        }
    }

    /// One escaped character of a string.
    fn escape(&mut self) -> Result<char, Expected> {
        let what = "an escape: \\\" \\\\ \\n \\r \\t \\u{hex}";
        for (text, value) in [
            ("\\\"", '"'),
            ("\\\\", '\\'),
            ("\\n", '\n'),
            ("\\r", '\r'),
            ("\\t", '\t'),
        ] {
            if self.eat(text) {
                return Ok(value);
            }
        }
        let inner = self
            .rest
            .strip_prefix("\\u{")
            .and_then(|rest| rest.split_once('}'));
        let (digits, _) = inner.ok_or_else(|| self.expected(what))?;
        let value = u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32);
        let value = value.ok_or_else(|| self.expected(what))?;
        self.advance("\\u{}".len() + digits.len());
        Ok(value)
    }

    /// Goes over `bytes` bytes, which end on a character.
    fn advance(&mut self, bytes: usize) {
        let (over, rest) = self.rest.split_at(bytes);
        self.column += over.chars().count() as u32;
        self.rest = rest;
    }
}

/// Appends a string in quotes, with escapes for quotes, backslashes and control characters.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back() {
        for text in [
            "",
            "plain",
            "a \"b\" \\ ; c",
            "tab\tline\nreturn\r",
            "bell\u{7} ü 日",
        ] {
            let mut quoted = String::new();
            quote(text, &mut quoted);
            let mut cursor = Cursor::new(&quoted, 1);
            assert_eq!(cursor.string().as_deref(), Ok(text));
            assert!(cursor.at_end());
        }
    }

    #[test]
    fn a_complaint_has_its_column() {
        let mut cursor = Cursor::new("ab 12", 5);
        cursor.word();
        cursor.space();
        let complaint = cursor.number::<u8>("a number").expect("12 fits");
        assert_eq!((complaint, cursor.column()), (12, 10));
        let mut cursor = Cursor::new("300", 5);
        assert_eq!(
            cursor.number::<u8>("a byte"),
            Err(cursor.expected("a byte"))
        );
    }
}

//! The `name=value` words of a line of the text form, taken by name.

use crate::cursor::{Cursor, Expected};
use crate::field::Field;

/// The words of one line, and all complaints about them.
#[derive(Debug)]
pub struct Fields<'a> {
    /// Column where the line's own text starts: missing words are complained about there.
    column: u32,
    words: Vec<Word<'a>>,
    complaints: Vec<Expected>,
}

/// One word and whether somebody wanted it.
#[derive(Debug)]
struct Word<'a> {
    name: &'a str,
    column: u32,
    value: Cursor<'a>,
    taken: bool,
}

impl<'a> Fields<'a> {
    /// Splits the rest of a line. Values in quotes may hold spaces.
    pub fn new(column: u32, cursor: &mut Cursor<'a>) -> Self {
        let mut fields = Self {
            column,
            words: Vec::new(),
            complaints: Vec::new(),
        };
        while !cursor.at_end() {
            let at = cursor.column();
            let name = cursor.word();
            if name.is_empty() || !cursor.eat("=") {
                fields
                    .complaints
                    .push(cursor.expected("a word such as name=value"));
                cursor.until_space();
                continue;
            }
            let value = cursor.clone();
            skip_value(cursor);
            let length = value.rest().len() - cursor.rest().len();
            let value = Cursor::new(&value.rest()[..length], value.column());
            if fields.words.iter().any(|word| word.name == name) {
                let again = Cursor::new("", at);
                fields
                    .complaints
                    .push(again.complain("asm-repeated", format!("`{name}` once only")));
            }
            fields.words.push(Word {
                name,
                column: at,
                value,
                taken: false,
            });
        }
        fields
    }

    /// The value of a word, parsed as a field of a command; a complaint where there is none.
    pub fn required<T: Field>(&mut self, name: &str) -> Option<T> {
        self.required_with(name, T::parse)
    }

    /// The value of a word, parsed as a field of a command, if there is one.
    pub fn optional<T: Field>(&mut self, name: &str) -> Option<T> {
        self.optional_with(name, T::parse)
    }

    /// The value of a word in a form of its own; a complaint where there is none.
    pub fn required_with<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&mut Cursor<'a>) -> Result<T, Expected>,
    ) -> Option<T> {
        if !self.words.iter().any(|word| word.name == name) {
            let at = Cursor::new("", self.column);
            self.complaints
                .push(at.complain("asm-missing", format!("a word {name}=…")));
            return None;
        }
        self.optional_with(name, parse)
    }

    /// The value of a word in a form of its own, if there is one.
    pub fn optional_with<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&mut Cursor<'a>) -> Result<T, Expected>,
    ) -> Option<T> {
        let word = self.words.iter_mut().find(|word| word.name == name)?;
        word.taken = true;
        let mut value = word.value.clone();
        let parsed = parse(&mut value).and_then(|parsed| {
            let end = value.rest().is_empty();
            if end {
                Ok(parsed)
            } else {
                Err(value.expected("a space or the end of the line"))
            }
        });
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(complaint) => {
                self.complaints.push(complaint);
                None
            }
        }
    }

    /// All complaints; `what` has the words that were asked for, any other is one too many.
    pub fn finish(mut self, what: &str) -> Vec<Expected> {
        for word in self.words.iter().filter(|word| !word.taken) {
            let at = Cursor::new("", word.column);
            let what = format!("no word `{}` in {what}", word.name);
            self.complaints.push(at.complain("asm-unknown", what));
        }
        self.complaints
    }
}

/// Goes over a value: up to the next space or comment outside quotes.
fn skip_value(cursor: &mut Cursor<'_>) {
    loop {
        let rest = cursor.rest();
        let stop = rest.find([' ', '\t', '\r', ';', '"']).unwrap_or(rest.len());
        cursor.eat(&rest[..stop]);
        if !cursor.rest().starts_with('"') || cursor.string().is_err() {
            return;
        }
    }
}

//! A walk over the tokens of a line.

use std::str::FromStr;

use super::lexer::{Problem, Spanned, Token};

/// The tokens of a line and where reading stands.
pub(super) struct Cursor<'a> {
    tokens: &'a [Spanned],
    next: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first token; `end` is the column after the last.
    pub(super) fn new(tokens: &'a [Spanned], end: usize) -> Self {
        Self {
            tokens,
            next: 0,
            end,
        }
    }

    /// The column of the next token.
    pub(super) fn column(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |t| t.column)
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|t| &t.token)
    }

    pub(super) fn advance(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.next += 1;
        Some(token)
    }

    /// Takes the mark if it is next.
    pub(super) fn eat(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        self.next += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), Problem> {
        if self.eat(mark) {
            Ok(())
        } else {
            Err(self.expected(&format!("`{mark}`")))
        }
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'a str, Problem> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, Problem> {
        match self.peek() {
            Some(Token::Text(text)) => {
                self.next += 1;
                Ok(text)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Takes a quoted text if it is next.
    pub(super) fn eat_text(&mut self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Text(text)) => {
                self.next += 1;
                Some(text)
            }
            _ => None,
        }
    }

    /// A number, or a word that may stand for one (`inf`, `true`).
    pub(super) fn number<T: FromStr>(&mut self) -> Result<T, Problem> {
        let column = self.column();
        let digits = self.digits()?;
        digits.parse().map_err(|_| {
            Problem::new(
                column,
                "syntax",
                format!("`{digits}` is no number of the kind needed"),
            )
        })
    }

    /// A number as it is written.
    pub(super) fn digits(&mut self) -> Result<&'a str, Problem> {
        match self.peek() {
            Some(Token::Number(digits) | Token::Word(digits)) => {
                self.next += 1;
                Ok(digits)
            }
            _ => Err(self.expected("a number")),
        }
    }

    /// Items between brackets, divided by commas.
    pub(super) fn list<T>(
        &mut self,
        [open, close]: [char; 2],
        mut item: impl FnMut(&mut Self) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        self.expect(open)?;
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(close) {
                return Ok(items);
            }
            self.expect(',')?;
        }
    }

    /// Nothing is left.
    pub(super) fn finish(&self) -> Result<(), Problem> {
        if self.peek().is_none() {
            Ok(())
        } else {
            Err(self.expected("the end of the line"))
        }
    }

    /// A complaint at the next token.
    pub(super) fn expected(&self, what: &str) -> Problem {
        Problem::new(self.column(), "syntax", format!("expected {what}"))
    }
}

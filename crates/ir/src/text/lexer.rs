//! A line of text in tokens.

/// A word of the text form.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `%12`, `%12.1`.
    Node { id: u32, slot: u32 },
    /// `@3`.
    Const(u32),
    /// `matmul`.
    Word(String),
    /// `-1.5e-3`, `-inf`; not yet a number of some type.
    Number(String),
    /// `"name"`, without quotes and escapes.
    Text(String),
    /// `:`, `=`, `,`, brackets.
    Mark(char),
}

/// A token and the column where it starts.
#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub token: Token,
    pub column: usize,
}

/// What is wrong with a line.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub column: usize,
    pub code: &'static str,
    pub message: String,
}

impl Problem {
    pub(super) fn new(column: usize, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            column,
            code,
            message: message.into(),
        }
    }
}

/// The tokens of a line up to its comment, and the column after the last one. Reading stops at the
/// first thing that is no token.
pub(super) fn tokens(line: &str) -> (Vec<Spanned>, usize, Option<Problem>) {
    let mut reader = Reader {
        line,
        offset: 0,
        column: 1,
    };
    let mut found = Vec::new();
    loop {
        reader.take_while(|c| c.is_whitespace());
        let column = reader.column;
        match reader.token() {
            Ok(Some(token)) => found.push(Spanned { token, column }),
            Ok(None) => return (found, column, None),
            Err(problem) => return (found, column, Some(problem)),
        }
    }
}

/// Where the comment of a line may start, in bytes: after its tokens.
pub(super) fn statement_end(line: &str) -> usize {
    let mut reader = Reader {
        line,
        offset: 0,
        column: 1,
    };
    loop {
        reader.take_while(|c| c.is_whitespace());
        let start = reader.offset;
        if !matches!(reader.token(), Ok(Some(_))) {
            return start;
        }
    }
}

struct Reader<'a> {
    line: &'a str,
    offset: usize,
    column: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.line[self.offset..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.offset += c.len_utf8();
        self.column += 1;
        Some(c)
    }

    fn take_while(&mut self, mut belongs: impl FnMut(char) -> bool) -> &'a str {
        let start = self.offset;
        while self.peek().is_some_and(&mut belongs) {
            self.next();
        }
        &self.line[start..self.offset]
    }

    fn token(&mut self) -> Result<Option<Token>, Problem> {
        let column = self.column;
        let Some(c) = self.peek() else {
            return Ok(None);
        };
        let token = match c {
            ';' => return Ok(None),
            '%' => self.node()?,
            '@' => {
                self.next();
                Token::Const(self.id()?)
            }
            '"' => self.text()?,
            ':' | '=' | ',' | '[' | ']' | '(' | ')' => {
                self.next();
                Token::Mark(c)
            }
            '-' | '0'..='9' => Token::Number(self.number().to_owned()),
            'a'..='z' | 'A'..='Z' | '_' => Token::Word(
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
                    .to_owned(),
            ),
            _ => return Err(Problem::new(column, "syntax", format!("unexpected {c:?}"))),
        };
        Ok(Some(token))
    }

    fn node(&mut self) -> Result<Token, Problem> {
        self.next();
        let id = self.id()?;
        let slot = if self.peek() == Some('.') {
            self.next();
            self.id()?
        } else {
            0
        };
        Ok(Token::Node { id, slot })
    }

    fn id(&mut self) -> Result<u32, Problem> {
        let column = self.column;
        let digits = self.take_while(|c| c.is_ascii_digit());
        digits
            .parse()
            .map_err(|_| Problem::new(column, "syntax", "expected an id"))
    }

    /// A sign, then letters, digits and points; a sign also after an exponent's `e`.
    fn number(&mut self) -> &'a str {
        let mut before = 'e';
        self.take_while(|c| {
            let signed = matches!(c, '-' | '+') && matches!(before, 'e' | 'E');
            before = c;
            signed || c.is_ascii_alphanumeric() || matches!(c, '.' | '_')
        })
    }

    fn text(&mut self) -> Result<Token, Problem> {
        let column = self.column;
        self.next();
        let mut text = self.take_while(|c| c != '"' && c != '\\').to_owned();
        loop {
            match self.next() {
                None => return Err(Problem::new(column, "syntax", "the quote is not closed")),
                Some('"') => return Ok(Token::Text(text)),
                Some('\\') => text.push(self.escape()?),
                Some(c) => text.push(c),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, Problem> {
        let column = self.column;
        let escaped = match self.next() {
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('0') => Some('\0'),
            Some(c @ ('"' | '\'' | '\\')) => Some(c),
            Some('u') if self.next() == Some('{') => {
                let digits = self.take_while(|c| c.is_ascii_hexdigit());
                let c = u32::from_str_radix(digits, 16)
                    .ok()
                    .and_then(char::from_u32);
                c.filter(|_| self.next() == Some('}'))
            }
            Some(_) | None => None,
        };
        escaped.ok_or_else(|| Problem::new(column, "syntax", "unknown escape"))
    }
}

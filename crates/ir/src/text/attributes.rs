//! Attributes as they are written on a line.

use super::cursor::Cursor;
use super::lexer::{Problem, Token};
use crate::op::Activation;
use crate::ty::{Elem, Quant};

/// The attributes of a line, each taken once by its name.
#[derive(Debug)]
pub(super) struct Attributes {
    items: Vec<Item>,
    end: usize,
}

#[derive(Debug)]
struct Item {
    name: String,
    column: usize,
    setting: Setting,
}

/// What follows the name.
#[derive(Debug)]
enum Setting {
    Nothing,
    One(String),
    Many(Vec<String>),
    Quant(Quant),
}

/// A value that an attribute can have.
pub(super) trait Attribute: Sized {
    /// The value of what is written.
    fn read(written: &str) -> Option<Self>;
}

macro_rules! numbers {
    ($($ty:ty),+) => {
        $(impl Attribute for $ty {
            fn read(written: &str) -> Option<Self> {
                written.parse().ok()
            }
        })+
    };
}

numbers!(usize, isize, u64, f32);

impl Attribute for Elem {
    fn read(written: &str) -> Option<Self> {
        Elem::from_name(written)
    }
}

impl Attribute for Activation {
    fn read(written: &str) -> Option<Self> {
        Activation::from_name(written)
    }
}

/// A quantisation by its word (`scale`, `affine`, `row`, `channel`, `shifted`, `block`), if brackets follow.
pub(super) fn quant(word: &str, cursor: &mut Cursor<'_>) -> Result<Option<Quant>, Problem> {
    let known = matches!(
        word,
        "scale" | "affine" | "row" | "channel" | "shifted" | "block"
    );
    if !known || !cursor.eat('(') {
        return Ok(None);
    }
    let quant = match word {
        "scale" => Quant::Tensor {
            scale: cursor.number()?,
        },
        "affine" => {
            let scale = cursor.number()?;
            cursor.expect(',')?;
            Quant::Affine {
                scale,
                zero: cursor.number()?,
            }
        }
        "row" => Quant::Row {
            group: cursor.number()?,
        },
        "channel" => Quant::Channel {
            axis: cursor.number()?,
        },
        "shifted" => Quant::Shifted {
            axis: cursor.number()?,
        },
        _ => {
            let axis = cursor.number()?;
            cursor.expect(',')?;
            let group = cursor.number()?;
            Quant::Block { axis, group }
        }
    };
    cursor.expect(')')?;
    Ok(Some(quant))
}

impl Attributes {
    /// Reads flags, `name=value`, `name=[values]` and quantisations up to what is none of them, or
    /// to `from`.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Problem> {
        let mut items = Vec::new();
        while let Some(Token::Word(name)) = cursor.peek() {
            if name == "from" {
                break;
            }
            let column = cursor.column();
            cursor.advance();
            let setting = match quant(name, cursor)? {
                Some(quant) => Setting::Quant(quant),
                None if !cursor.eat('=') => Setting::Nothing,
                None if cursor.peek() == Some(&Token::Mark('[')) => Setting::Many(
                    cursor.list(['[', ']'], |cursor| cursor.digits().map(str::to_owned))?,
                ),
                None => Setting::One(cursor.digits()?.to_owned()),
            };
            items.push(Item {
                name: name.clone(),
                column,
                setting,
            });
        }
        Ok(Self {
            items,
            end: cursor.column(),
        })
    }

    /// Whether an attribute of the name is left.
    pub(super) fn has(&self, name: &str) -> bool {
        self.items.iter().any(|item| item.name == name)
    }

    /// Whether the flag is there.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.remove(name) {
            None => Ok(false),
            Some(Item {
                setting: Setting::Nothing,
                ..
            }) => Ok(true),
            Some(item) => Err(item.wrong()),
        }
    }

    /// The value of an attribute that may be left out.
    pub(super) fn take<T: Attribute>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(item) = self.remove(name) else {
            return Ok(None);
        };
        match &item.setting {
            Setting::One(written) => match T::read(written) {
                Some(value) => Ok(Some(value)),
                None => Err(item.wrong()),
            },
            Setting::Nothing | Setting::Many(_) | Setting::Quant(_) => Err(item.wrong()),
        }
    }

    /// The value of an attribute that must be there.
    pub(super) fn need<T: Attribute>(&mut self, name: &str) -> Result<T, Problem> {
        match self.take(name)? {
            Some(value) => Ok(value),
            None => Err(self.missing(&format!("{name}=…"))),
        }
    }

    /// The values of an attribute that must be there.
    pub(super) fn list<T: Attribute>(&mut self, name: &str) -> Result<Vec<T>, Problem> {
        let Some(item) = self.remove(name) else {
            return Err(self.missing(&format!("{name}=[…]")));
        };
        let values = match &item.setting {
            Setting::Many(written) => written.iter().map(|w| T::read(w)).collect(),
            Setting::Nothing | Setting::One(_) | Setting::Quant(_) => None,
        };
        values.ok_or_else(|| item.wrong())
    }

    /// The quantisation, if there is one.
    pub(super) fn take_quant(&mut self) -> Option<Quant> {
        let found = self
            .items
            .iter()
            .enumerate()
            .find_map(|(i, item)| match item.setting {
                Setting::Quant(quant) => Some((i, quant)),
                Setting::Nothing | Setting::One(_) | Setting::Many(_) => None,
            });
        found.map(|(i, quant)| {
            self.items.remove(i);
            quant
        })
    }

    /// Nothing is left.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.items.first() {
            None => Ok(()),
            Some(item) => Err(Problem::new(
                item.column,
                "unknown-attribute",
                format!("`{}` does not belong here, or stands here twice", item.name),
            )),
        }
    }

    /// A complaint that something must be there.
    pub(super) fn missing(&self, what: &str) -> Problem {
        Problem::new(self.end, "missing-attribute", format!("needs {what}"))
    }

    fn remove(&mut self, name: &str) -> Option<Item> {
        let index = self.items.iter().position(|item| item.name == name)?;
        Some(self.items.remove(index))
    }
}

impl Item {
    fn wrong(&self) -> Problem {
        let message = format!("`{}` has a value of another kind", self.name);
        Problem::new(self.column, "attribute-value", message)
    }
}

//! Text → statements, line by line.

use super::attributes::{Attributes, quant};
use super::cursor::Cursor;
use super::lexer::{self, Problem, Token};
use super::{data, operators};
use crate::graph::{Facts, Origin};
use crate::id::ConstId;
use crate::konst::{Derivation, Fill, FillKind, Source};
use crate::op::Op;
use crate::ty::{Elem, Type};

/// A line that says something, with its number.
#[derive(Debug)]
pub(super) struct Line {
    pub number: usize,
    /// The id that the line defines, known even where the rest is not understood.
    pub defines: Option<Name>,
    pub statement: Result<Statement, Problem>,
}

/// What a line says.
#[derive(Debug)]
pub(super) enum Statement {
    Graph(String),
    Const(ConstLine),
    Node(NodeLine),
    Output { value: Operand, name: String },
    Facts(Facts),
}

/// A constant. Its name is empty where none is written; a derivation names ids of the text.
#[derive(Debug)]
pub(super) struct ConstLine {
    pub id: u32,
    pub ty: Type,
    pub name: String,
    pub source: Source,
}

/// A node.
#[derive(Debug)]
pub(super) struct NodeLine {
    pub id: u32,
    pub types: Vec<Type>,
    pub op: Op,
    pub operands: Vec<Operand>,
    pub origin: Option<Origin>,
    /// Where the operator stands.
    pub column: usize,
}

/// A value that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub name: Name,
    pub column: usize,
}

/// An id in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Node { id: u32, slot: u32 },
    Const(u32),
}

/// The statements of a text; blank lines are left out.
pub(super) fn parse(source: &str) -> Vec<Line> {
    let lines = source.split('\n').enumerate();
    lines
        .filter_map(|(index, line)| parse_line(index + 1, line))
        .collect()
}

/// The id that a line defines, if it does.
pub(super) fn defined(line: &str) -> Option<Name> {
    let (tokens, end, _) = lexer::tokens(line);
    operand(&mut Cursor::new(&tokens, end))
        .ok()
        .map(|operand| operand.name)
}

fn parse_line(number: usize, line: &str) -> Option<Line> {
    let (tokens, end, problem) = lexer::tokens(line);
    if tokens.is_empty() && problem.is_none() {
        return None;
    }
    let mut cursor = Cursor::new(&tokens, end);
    let defines = operand(&mut Cursor::new(&tokens, end))
        .ok()
        .map(|operand| operand.name);
    let statement = match problem {
        Some(problem) => Err(problem),
        None => statement(&mut cursor).and_then(|s| cursor.finish().map(|()| s)),
    };
    Some(Line {
        number,
        defines,
        statement,
    })
}

fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, Problem> {
    match cursor.peek() {
        Some(Token::Const(id)) => {
            cursor.advance();
            constant(*id, cursor).map(Statement::Const)
        }
        Some(Token::Node { id, slot: 0 }) => {
            cursor.advance();
            node(*id, cursor).map(Statement::Node)
        }
        Some(Token::Word(word)) if word == "graph" => {
            cursor.advance();
            name(cursor).map(Statement::Graph)
        }
        Some(Token::Word(word)) if word == "output" => {
            cursor.advance();
            let value = operand(cursor)?;
            Ok(Statement::Output {
                value,
                name: cursor.text("the name of the output")?.to_owned(),
            })
        }
        Some(Token::Word(word)) if word == "facts" => {
            cursor.advance();
            facts(cursor).map(Statement::Facts)
        }
        _ => Err(cursor.expected("`graph`, `@…`, `%…`, `output` or `facts`")),
    }
}

fn constant(id: u32, cursor: &mut Cursor<'_>) -> Result<ConstLine, Problem> {
    cursor.expect(':')?;
    let ty = ty(cursor)?;
    let name = cursor
        .eat_text()
        .map_or_else(|| ConstId(id).to_string(), str::to_owned);
    let source = if cursor.eat('=') {
        source(&ty, &name, cursor)?
    } else {
        Source::Absent
    };
    Ok(ConstLine {
        id,
        ty,
        name,
        source,
    })
}

fn source(ty: &Type, name: &str, cursor: &mut Cursor<'_>) -> Result<Source, Problem> {
    let column = cursor.column();
    if cursor.peek() == Some(&Token::Mark('[')) {
        let numbers = cursor.list(['[', ']'], |cursor| cursor.digits().map(str::to_owned))?;
        return match data::from_numbers(ty.elem, &numbers) {
            Ok(bytes) => Ok(Source::Bytes(bytes)),
            Err(number) => {
                let message = format!("`{number}` is no {}", ty.elem);
                Err(Problem::new(column, "attribute-value", message))
            }
        };
    }
    let word = cursor.word("values or where they come from")?;
    match word {
        "absent" => Ok(Source::Absent),
        "synthetic" => fill(name, cursor).map(Source::Synthetic),
        "bytes" => {
            let column = cursor.column();
            match data::from_hexadecimal(cursor.text("hexadecimal digits")?) {
                Some(bytes) => Ok(Source::Bytes(bytes)),
                None => Err(Problem::new(
                    column,
                    "attribute-value",
                    "no hexadecimal digits",
                )),
            }
        }
        _ => derivation(word, column, cursor).map(Source::Derived),
    }
}

fn derivation(word: &str, column: usize, cursor: &mut Cursor<'_>) -> Result<Derivation, Problem> {
    let mut ids = Vec::new();
    while let Some(Token::Const(id)) = cursor.peek() {
        cursor.advance();
        ids.push(ConstId(*id));
        if !cursor.eat(',') {
            break;
        }
    }
    let mut attrs = Attributes::read(cursor)?;
    let derivation = match (word, &ids[..]) {
        ("concat", _) => Derivation::Concat {
            axis: attrs.need("axis")?,
            of: ids,
        },
        ("transpose", &[of]) => Derivation::Transpose {
            of,
            perm: attrs.list("perm")?,
        },
        ("reshape", &[of]) => Derivation::Reshape { of },
        ("expand", &[of]) => Derivation::Expand { of },
        ("slice", &[of]) => {
            let start: Vec<usize> = attrs.list("start")?;
            Derivation::Slice {
                of,
                count: attrs.list("count")?,
                step: match attrs.has("step") {
                    true => attrs.list("step")?,
                    false => vec![1; start.len()],
                },
                start,
            }
        }
        ("rest", &[of]) => Derivation::Rest {
            of,
            axis: attrs.need("axis")?,
        },
        ("quantize", &[of]) => Derivation::Quantize { of },
        ("dequantize", &[of]) => Derivation::Dequantize { of },
        ("scaled", &[values, scales]) => Derivation::Scaled {
            of: [values, scales],
        },
        ("scale", &[of]) => Derivation::Scale {
            of,
            factor: attrs.need("factor")?,
        },
        ("scale_each", &[values, factors]) => Derivation::ScaleEach {
            of: [values, factors],
            axis: attrs.need("axis")?,
        },
        ("scaled" | "scale_each", _) => {
            let message =
                format!("`{word}` takes two constants: values and what they are scaled by");
            return Err(Problem::new(column, "operand-count", message));
        }
        (
            "transpose" | "reshape" | "expand" | "slice" | "quantize" | "dequantize" | "rest"
            | "scale",
            _,
        ) => {
            let message = format!("`{word}` takes one constant");
            return Err(Problem::new(column, "operand-count", message));
        }
        _ => {
            let message = format!("constants are not made by `{word}`");
            return Err(Problem::new(column, "unknown-operator", message));
        }
    };
    attrs.finish()?;
    Ok(derivation)
}

/// `normal(std=0.02, seed=0)`.
fn fill(name: &str, cursor: &mut Cursor<'_>) -> Result<Fill, Problem> {
    let column = cursor.column();
    let word = cursor.word("a rule that makes values")?;
    let mut fill = Fill {
        name: name.to_owned(),
        seed: 0,
        kind: FillKind::Arange,
    };
    let (mut std, mut value, mut low, mut high) = (None, None, None, None);
    cursor.list(['(', ')'], |cursor| {
        let setting = cursor.word("a setting")?;
        cursor.expect('=')?;
        match setting {
            "seed" => fill.seed = cursor.number()?,
            "name" => fill.name = cursor.text("the name")?.to_owned(),
            "std" => std = Some(cursor.number()?),
            "value" => value = Some(cursor.number()?),
            "low" => low = Some(cursor.digits()?),
            "high" => high = Some(cursor.digits()?),
            _ => return Err(cursor.expected("std, value, low, high, seed or name before `=`")),
        }
        Ok(())
    })?;
    let wrong = || {
        Problem::new(
            column,
            "attribute-value",
            "the settings do not fit the rule",
        )
    };
    fill.kind = match (word, std, value, low, high) {
        ("normal", Some(std), None, None, None) => FillKind::Normal { std },
        ("constant", None, Some(value), None, None) => FillKind::Constant { value },
        ("uniform", None, None, Some(low), Some(high)) => FillKind::Uniform {
            low: low.parse().map_err(|_| wrong())?,
            high: high.parse().map_err(|_| wrong())?,
        },
        ("uniform_int", None, None, Some(low), Some(high)) => FillKind::UniformInt {
            low: low.parse().map_err(|_| wrong())?,
            high: high.parse().map_err(|_| wrong())?,
        },
        ("arange", None, None, None, None) => FillKind::Arange,
        ("tril", None, None, None, None) => FillKind::Tril,
        _ => return Err(wrong()),
    };
    Ok(fill)
}

fn node(id: u32, cursor: &mut Cursor<'_>) -> Result<NodeLine, Problem> {
    cursor.expect(':')?;
    let mut types = vec![ty(cursor)?];
    while cursor.eat(',') {
        types.push(ty(cursor)?);
    }
    cursor.expect('=')?;
    let column = cursor.column();
    let word = cursor.word("an operator")?;
    let (op, operands) = if word == "input" {
        (
            Op::Input {
                name: cursor.text("the name of the input")?.to_owned(),
            },
            Vec::new(),
        )
    } else {
        let operands = operands(cursor)?;
        let mut attrs = Attributes::read(cursor)?;
        let op = operators::operator(word, column, &mut attrs, &types, operands.len())?;
        attrs.finish()?;
        (op, operands)
    };
    let origin = origin(cursor)?;
    Ok(NodeLine {
        id,
        types,
        op,
        operands,
        origin,
        column,
    })
}

fn operands(cursor: &mut Cursor<'_>) -> Result<Vec<Operand>, Problem> {
    let mut operands = Vec::new();
    if !matches!(cursor.peek(), Some(Token::Node { .. } | Token::Const(_))) {
        return Ok(operands);
    }
    operands.push(operand(cursor)?);
    while cursor.eat(',') {
        operands.push(operand(cursor)?);
    }
    Ok(operands)
}

fn operand(cursor: &mut Cursor<'_>) -> Result<Operand, Problem> {
    let column = cursor.column();
    let name = match cursor.peek() {
        Some(&Token::Node { id, slot }) => Name::Node { id, slot },
        Some(&Token::Const(id)) => Name::Const(id),
        _ => return Err(cursor.expected("a value (`%…` or `@…`)")),
    };
    cursor.advance();
    Ok(Operand { name, column })
}

/// `from "layer" ["node", …]`.
fn origin(cursor: &mut Cursor<'_>) -> Result<Option<Origin>, Problem> {
    if cursor.peek() != Some(&Token::Word("from".to_owned())) {
        return Ok(None);
    }
    cursor.advance();
    let layer = cursor.text("the layer")?.to_owned();
    let nodes = if cursor.peek() == Some(&Token::Mark('[')) {
        cursor.list(['[', ']'], |cursor| {
            cursor.text("a name").map(str::to_owned)
        })?
    } else {
        Vec::new()
    };
    Ok(Some(Origin { layer, nodes }))
}

/// `parameters=1 macs=2 binding(axis=3)`.
fn facts(cursor: &mut Cursor<'_>) -> Result<Facts, Problem> {
    let mut facts = Facts::default();
    while let Some(Token::Word(word)) = cursor.peek() {
        match word.as_str() {
            "parameters" | "macs" => {
                cursor.advance();
                cursor.expect('=')?;
                let figure = cursor.number()?;
                if word == "macs" {
                    facts.macs = figure;
                } else {
                    facts.parameters = figure;
                }
            }
            "binding" => {
                cursor.advance();
                facts.binding = cursor.list(['(', ')'], |cursor| {
                    let axis = name(cursor)?;
                    cursor.expect('=')?;
                    Ok((axis, cursor.number()?))
                })?;
            }
            _ => return Err(cursor.expected("parameters, macs or binding")),
        }
    }
    Ok(facts)
}

/// A word or a text.
fn name(cursor: &mut Cursor<'_>) -> Result<String, Problem> {
    match cursor.eat_text() {
        Some(text) => Ok(text.to_owned()),
        None => cursor.word("a name").map(str::to_owned),
    }
}

fn ty(cursor: &mut Cursor<'_>) -> Result<Type, Problem> {
    let expected = cursor.expected("a type such as f32[8,16]");
    let Some(elem) = cursor
        .word("a type such as f32[8,16]")
        .ok()
        .and_then(Elem::from_name)
    else {
        return Err(expected);
    };
    let shape = cursor.list(['[', ']'], Cursor::number)?;
    let mut ty = Type::new(elem, shape);
    if let Some(Token::Word(word)) = cursor.peek() {
        cursor.advance();
        let expected = cursor.expected("(…) after scale, row or channel");
        ty.quant = Some(quant(word, cursor)?.ok_or(expected)?);
    }
    Ok(ty)
}

//! Axes that have names instead of lengths, and what they stand for.

use std::fmt;

use indexmap::IndexMap;

use crate::load::Port;

/// The length of an axis, as the model says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    Fixed(u64),
    Named(String),
    /// Sum of products, e.g. `past_sequence_length + sequence_length`.
    Sum(Sum),
}

/// A linear expression over names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Names with their factors, in order.
    pub terms: Vec<(String, i64)>,
    pub constant: i64,
    /// As the model writes it.
    pub text: String,
}

/// What the positions along an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Batch,
    /// Positions that are computed in this pass.
    Sequence,
    /// Positions already in the cache.
    Past,
    /// Cached and new positions together.
    Total,
    /// Positions of the encoder that a decoder looks at.
    Encoder,
    Other,
}

/// A name that stands for the length of axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    pub name: String,
    pub role: Role,
    /// Inputs and positions where it stands, in order.
    pub places: Vec<(String, usize)>,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Named(name) => f.write_str(name),
            Dim::Sum(sum) => f.write_str(&sum.text),
        }
    }
}

impl Sum {
    /// The value, if every name has one and the result is a length.
    pub fn solve(&self, value: impl Fn(&str) -> Option<u64>) -> Option<u64> {
        let mut total = self.constant;
        for (name, factor) in &self.terms {
            let value = i64::try_from(value(name)?).ok()?;
            total = total.checked_add(value.checked_mul(*factor)?)?;
        }
        u64::try_from(total).ok()
    }
}

/// Reads the name of an axis: a number, an expression, or a name.
pub(crate) fn parse_dim(text: &str) -> Dim {
    let text = text.trim();
    match parse_sum(text) {
        Some(sum) => match (&sum.terms[..], sum.constant) {
            ([], n) if n >= 0 => Dim::Fixed(n.unsigned_abs()),
            ([(name, 1)], 0) => Dim::Named(name.clone()),
            _ => Dim::Sum(sum),
        },
        None => Dim::Named(text.to_owned()),
    }
}

/// Terms joined by `+` and `-`, each a product of names and numbers with at most one name.
fn parse_sum(text: &str) -> Option<Sum> {
    let mut terms: Vec<(String, i64)> = Vec::new();
    let mut constant = 0i64;
    // A minus sign counts only with spaces around it: names may contain one.
    for (i, positive) in text.replace(" - ", " +- ").split('+').enumerate() {
        let mut factor = 1i64;
        let mut name = None;
        let mut part = positive.trim();
        if i > 0
            && let Some(rest) = part.strip_prefix("- ")
        {
            factor = -1;
            part = rest.trim();
        }
        for piece in part.split('*') {
            let piece = piece.trim();
            if let Ok(n) = piece.parse::<i64>() {
                factor = factor.checked_mul(n)?;
            } else if name.is_none() && is_name(piece) {
                name = Some(piece.to_owned());
            } else {
                return None;
            }
        }
        match name {
            None => constant = constant.checked_add(factor)?,
            Some(name) => match terms.iter_mut().find(|(n, _)| *n == name) {
                Some((_, f)) => *f = f.checked_add(factor)?,
                None => terms.push((name, factor)),
            },
        }
    }
    Some(Sum {
        terms,
        constant,
        text: text.to_owned(),
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "()/%,".contains(c))
}

/// The names in the inputs' axes with their roles, in order of appearance.
pub(crate) fn axes(inputs: &[Port]) -> Vec<Axis> {
    let cached = inputs.iter().any(|p| is_past(&p.name));
    let mut axes: IndexMap<String, Axis> = IndexMap::new();
    let mut add = |name: &str, role: Role, port: &Port, at: usize| {
        let axis = axes.entry(name.to_owned()).or_insert_with(|| Axis {
            name: name.to_owned(),
            role: Role::Other,
            places: Vec::new(),
        });
        axis.places.push((port.name.clone(), at));
        // A whole length is what remains for an axis that nothing else explains.
        if axis.role == Role::Other || (axis.role == Role::Total && role != Role::Other) {
            axis.role = role;
        }
    };
    for port in inputs {
        for (at, dim) in port.dims.iter().flatten().enumerate() {
            match dim {
                Dim::Fixed(_) => {}
                Dim::Named(name) => add(name, role_of_place(&port.name, at, cached), port, at),
                Dim::Sum(sum) => {
                    for (name, _) in &sum.terms {
                        add(name, Role::Other, port, at);
                    }
                }
            }
        }
    }
    for axis in axes.values_mut() {
        if axis.role == Role::Other {
            axis.role = role_of_name(&axis.name);
        }
    }
    axes.into_values().collect()
}

/// The role of an axis of an input that exporters name alike.
pub(crate) fn role_of_place(input: &str, at: usize, cached: bool) -> Role {
    let encoder = input.starts_with("encoder_") || input.contains(".encoder.");
    match (at, input) {
        (0, _) if is_past(input) || is_known(input) => Role::Batch,
        (1, _) if input.starts_with("encoder_") => Role::Encoder,
        (1, "attention_mask" | "decoder_attention_mask") if cached => Role::Total,
        (1, _) if is_known(input) => Role::Sequence,
        (2, _) if is_past(input) && encoder => Role::Encoder,
        (2, _) if is_past(input) => Role::Past,
        _ => Role::Other,
    }
}

fn is_known(input: &str) -> bool {
    let name = input
        .strip_prefix("decoder_")
        .or(input.strip_prefix("encoder_"))
        .unwrap_or(input);
    matches!(
        name,
        "input_ids"
            | "attention_mask"
            | "token_type_ids"
            | "position_ids"
            | "inputs_embeds"
            | "global_attention_mask"
            | "hidden_states"
            | "segment_ids"
            | "input_mask"
    )
}

fn is_past(input: &str) -> bool {
    input.starts_with("past_key_values") || input.starts_with("past_") || input.starts_with("past.")
}

fn role_of_name(name: &str) -> Role {
    let name = name.to_ascii_lowercase();
    if name.contains("batch") {
        Role::Batch
    } else if name.contains("total") {
        Role::Total
    } else if name.contains("past") {
        Role::Past
    } else if name.contains("encoder") && name.contains("seq") && !name.contains("decoder") {
        Role::Encoder
    } else if name.contains("seq") {
        Role::Sequence
    } else {
        Role::Other
    }
}

//! The recipe as a file: TOML that people read, edit and keep under version control.
//!
//! ```toml
//! schema = "packwright.recipe/1"
//! activations = "row"       # or "static"; "row16" and "static16" take sixteen bits, in two parts
//! group = 64                # most elements of a row that share a scale
//! hidden_group = 256        # the same in front of products that make rows narrower
//! norms = "row16"           # what layers behind norms have instead, where it is given
//! equalize = "norms"        # or "all": magnitudes of channels move into weights
//! weights = "int4"          # or "int8"
//! block = 64                # most int4 weights of a channel that share a step: 32, 64 or 128
//! head = "int8"             # weights of products that give results
//! caches = "f16"            # or "int8": keys and values from one pass to the next
//!
//! [layers."encoder.layer.0.output.dense.weight"]
//! activations = "static"
//! scale = 0.031
//! weights = "int8"
//! ```
//!
//! A layer is called as the weights that its product reads. Groups and kinds shape the program; scales are
//! values, and the program's packets do not depend on them.

use std::collections::BTreeMap;

use packwright_compile::graph::recipe::{
    Activations, BLOCK, BLOCKS, Caches, Equalize, Recipe, SHORTEST_GROUP, Weights,
};
use serde::{Deserialize, Serialize};

use crate::errors::{Failure, Problem};

/// The schema of the file.
pub const SCHEMA: &str = "packwright.recipe/1";

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    activations: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_group: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    norms: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    equalize: Option<Reach>,
    #[serde(default, skip_serializing_if = "is_int8")]
    weights: Bits,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<usize>,
    #[serde(default, skip_serializing_if = "is_int8")]
    head: Bits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caches: Option<Kept>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    layers: BTreeMap<String, Layer>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    #[serde(skip_serializing_if = "Option::is_none")]
    activations: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<Bits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Row,
    Row16,
    Static,
    Static16,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reach {
    Norms,
    All,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kept {
    Int8,
    F16,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Bits {
    #[default]
    Int8,
    Int4,
}

fn is_int8(bits: &Bits) -> bool {
    *bits == Bits::Int8
}

/// The text of a recipe.
pub fn write(recipe: &Recipe) -> String {
    let (activations, group) = parts(recipe.default);
    let names = recipe.layers.keys().chain(recipe.scales.keys());
    let names = names.chain(recipe.layer_weights.keys());
    let (weights, block) = bits(recipe.weights);
    let (head, head_block) = bits(recipe.head);
    let layer = |name: &String| {
        let own = recipe.layers.get(name).map(|&own| parts(own));
        let weights = recipe.layer_weights.get(name).map(|&own| bits(own));
        let layer = Layer {
            activations: own.map(|(kind, _)| kind),
            group: own.and_then(|(_, group)| group),
            scale: recipe.scales.get(name).copied(),
            weights: weights.map(|(weights, _)| weights),
            block: weights.and_then(|(_, block)| block),
        };
        (name.clone(), layer)
    };
    let file = File {
        schema: SCHEMA.to_owned(),
        activations,
        group,
        hidden_group: group.map(|_| recipe.hidden_group),
        norms: recipe.norms.map(|norms| parts(norms).0),
        equalize: match recipe.equalize {
            Equalize::Nothing => None,
            Equalize::Norms => Some(Reach::Norms),
            Equalize::All => Some(Reach::All),
        },
        weights,
        block: block.or(head_block),
        head,
        caches: match recipe.caches {
            Caches::Int8 => None,
            Caches::F16 => Some(Kept::F16),
        },
        layers: names.map(layer).collect(),
    };
    toml::to_string(&file).expect("strings, numbers and tables have a text")
}

fn parts(activations: Activations) -> (Kind, Option<usize>) {
    match activations {
        Activations::Row { group } => (Kind::Row, Some(group)),
        Activations::WideRow => (Kind::Row16, None),
        Activations::Static => (Kind::Static, None),
        Activations::WideStatic => (Kind::Static16, None),
    }
}

fn bits(weights: Weights) -> (Bits, Option<usize>) {
    match weights {
        Weights::Int8 => (Bits::Int8, None),
        Weights::Int4 { group } => (Bits::Int4, Some(group)),
    }
}

/// The recipe of a text.
///
/// # Errors
/// When it is no TOML, or says what makes no sense.
pub fn read(text: &str) -> Result<Recipe, Failure> {
    let help = "`packwright quantize` writes a recipe to start from";
    let file: File = toml::from_str(text).map_err(|error| {
        Failure::from(
            Problem::error(
                "recipe-unreadable",
                format!("the recipe cannot be read: {error}"),
            )
            .help(help),
        )
    })?;
    let mut problems = Vec::new();
    let mut wrong =
        |message: String| problems.push(Problem::error("recipe-wrong", message).help(help));
    if file.schema != SCHEMA {
        wrong(format!("the schema is `{}`, not `{SCHEMA}`", file.schema));
    }
    let default = Recipe::default();
    if let Some(group) = file.hidden_group.filter(|&group| group < SHORTEST_GROUP) {
        wrong(format!(
            "a group of {group} is shorter than {SHORTEST_GROUP}"
        ));
    }
    let mut recipe = Recipe {
        default: joined(file.activations, file.group, default.default, &mut wrong),
        hidden_group: file
            .hidden_group
            .or(file.group)
            .unwrap_or(default.hidden_group),
        norms: file
            .norms
            .map(|kind| joined(kind, None, default.default, &mut wrong)),
        equalize: match file.equalize {
            None => Equalize::Nothing,
            Some(Reach::Norms) => Equalize::Norms,
            Some(Reach::All) => Equalize::All,
        },
        weights: weights(file.weights, file.block, &mut wrong),
        head: weights(file.head, file.block, &mut wrong),
        caches: match file.caches {
            None | Some(Kept::Int8) => Caches::Int8,
            Some(Kept::F16) => Caches::F16,
        },
        ..default
    };
    for (name, layer) in file.layers {
        if let Some(scale) = layer.scale {
            if scale.is_normal() && scale > 0.0 {
                recipe.scales.insert(name.clone(), scale);
            } else {
                wrong(format!(
                    "the scale of `{name}` is {scale}: it must be a normal number above 0"
                ));
            }
        }
        if layer.weights.is_some() || layer.block.is_some() {
            let own = layer.weights.unwrap_or(bits(recipe.weights).0);
            let own = weights(own, layer.block.or(file.block), &mut wrong);
            recipe.layer_weights.insert(name.clone(), own);
        }
        if layer.activations.is_some() || layer.group.is_some() {
            let kind = layer.activations.unwrap_or(parts(recipe.default).0);
            let own = joined(kind, layer.group, recipe.default, &mut wrong);
            recipe.layers.insert(name, own);
        }
    }
    if problems.is_empty() {
        Ok(recipe)
    } else {
        Err(Failure(problems))
    }
}

/// Bits and block as one.
fn weights(bits: Bits, block: Option<usize>, wrong: &mut impl FnMut(String)) -> Weights {
    let group = block.unwrap_or(BLOCK);
    if !BLOCKS.contains(&group) {
        wrong(format!("a block of {group} is none of {BLOCKS:?}"));
    }
    match bits {
        Bits::Int8 => Weights::Int8,
        Bits::Int4 => Weights::Int4 { group },
    }
}

/// Kind and group as one; a group that is left out is that of the default.
fn joined(
    kind: Kind,
    group: Option<usize>,
    default: Activations,
    wrong: &mut impl FnMut(String),
) -> Activations {
    match (kind, group, default) {
        (Kind::Static, None, _) => Activations::Static,
        (Kind::Static16, None, _) => Activations::WideStatic,
        (Kind::Row16, None, _) => Activations::WideRow,
        (Kind::Static | Kind::Static16 | Kind::Row16, Some(_), _) => {
            wrong("only rows of eight bits have groups".to_owned());
            default
        }
        (Kind::Row, Some(group), _) => {
            if group < SHORTEST_GROUP {
                wrong(format!(
                    "a group of {group} is shorter than {SHORTEST_GROUP}"
                ));
            }
            Activations::Row { group }
        }
        (Kind::Row, None, Activations::Row { group }) => Activations::Row { group },
        (Kind::Row, None, _) => Activations::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut recipe = Recipe::default();
        recipe.layers.insert("a".into(), Activations::Static);
        recipe
            .layers
            .insert("b".into(), Activations::Row { group: 32 });
        recipe.layers.insert("c".into(), Activations::WideRow);
        recipe.norms = Some(Activations::WideRow);
        recipe.equalize = Equalize::All;
        recipe.scales.insert("a".into(), 0.125);
        recipe.weights = Weights::Int4 { group: 32 };
        recipe.caches = Caches::F16;
        recipe.layer_weights.insert("b".into(), Weights::Int8);
        let text = write(&recipe);
        insta::assert_snapshot!(text, @r#"
        schema = "packwright.recipe/1"
        activations = "row"
        group = 64
        hidden_group = 256
        norms = "row16"
        equalize = "all"
        weights = "int4"
        block = 32
        caches = "f16"

        [layers.a]
        activations = "static"
        scale = 0.125

        [layers.b]
        activations = "row"
        group = 32
        weights = "int8"

        [layers.c]
        activations = "row16"
        "#);
        assert_eq!(read(&text), Ok(recipe));
    }

    #[test]
    fn everything_wrong_is_named() {
        let text = "schema = \"x\"\nactivations = \"row\"\ngroup = 8\n[layers.a]\nscale = 0.0\n";
        let failure = read(text).expect_err("is wrong");
        assert_eq!(failure.0.len(), 3, "{failure:?}");
        assert_eq!(
            read("x").expect_err("is no recipe").0[0].code,
            "recipe-unreadable"
        );
    }
}

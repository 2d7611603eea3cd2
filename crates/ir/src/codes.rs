//! What `explain` says about the codes of this crate.

use crate::diag::CodeDoc;

/// Every code of the shape rules, the verifier and the text form, in order of the alphabet.
pub const CODES: &[CodeDoc] = &[
    doc(
        "attribute-range",
        "an attribute has a value that makes no sense",
        "Factors and epsilons must be finite, an epsilon not negative, the bounds of a range in order.",
    ),
    doc(
        "attribute-value",
        "an attribute or a value is of another kind",
        "The text gives a number where a list belongs, a fraction where a whole number belongs, or \
         settings that do not fit the rule they are given to.",
    ),
    doc(
        "axes-differ",
        "an axis is named twice",
        "A reduction names each of its axes once.",
    ),
    doc(
        "axis-in-range",
        "there is no such axis",
        "Axes are counted from 0 and are fewer than the tensor has; negative axes of a model are \
         counted from the front when it is imported.",
    ),
    doc(
        "cache-shape",
        "a cache is not made of rows",
        "What a cache holds and what is added to it are `[batch, rows, width]`.",
    ),
    doc(
        "const-bytes",
        "a constant has more or fewer bytes than its type takes",
        "The bytes of a constant are its elements, row-major and little-endian, and nothing else.",
    ),
    doc(
        "const-scales",
        "nothing says the scales of a quantised constant",
        "Scales by row or channel follow from the real numbers. Store those, and derive the \
         quantised constant from them (`@1 : i8[16,32] channel(1) = quantize @0`).",
    ),
    doc(
        "count-in-range",
        "more elements are asked for than there are",
        "An axis has at least as many elements as are picked from it, and at least one for the \
         largest to be found.",
    ),
    doc(
        "cycle",
        "something follows from itself",
        "A node reads what is computed from its own result, or a constant is derived from itself. A \
         pass that rewires a graph must not make a node its own ancestor.",
    ),
    doc(
        "declared-type",
        "inputs and constants have no shape rule",
        "Their types are declared; add them with `add_input` and `add_const`.",
    ),
    doc(
        "defined-before-use",
        "a value is read before the line that defines it",
        "In a text, a node stands after everything that it reads.",
    ),
    doc(
        "element-count-kept",
        "a reshape changes the number of elements",
        "A reshape keeps all elements in their order; the products of both shapes are equal.",
    ),
    doc(
        "element-legal",
        "no machine computes with these elements",
        "After legalisation nothing is f64: the precision is not needed to run a network, and \
         machines do not have it.",
    ),
    doc(
        "elements-agree",
        "operands have different elements",
        "Both are integers of one type, or both are floats, whose widths may differ. Insert a cast.",
    ),
    doc(
        "enough-axes",
        "an operand has too few axes",
        "Factors of a product and triangles have at least two axes, rows at least one.",
    ),
    doc(
        "factors-fit",
        "the factors of a product cannot be multiplied",
        "Both are floats, or both are i8 with scales that can be taken out of the sum: the first \
         with one scale or scales by row, the second with one scale or a scale for each column of \
         the result.",
    ),
    doc(
        "gather-legal",
        "only whole rows can be gathered",
        "Machines fetch rows of a table by their index. Transpose the table, so that its rows are \
         what is picked.",
    ),
    doc(
        "groups-stay-whole",
        "elements that share a scale would be parted",
        "A value that is quantised by row or channel can be moved only where each group of elements \
         stays together. Dequantise it first, or move other axes.",
    ),
    doc(
        "heads-divide",
        "the heads do not divide the rows",
        "A row holds the heads side by side, all of one width, and each key/value head serves \
         equally many heads.",
    ),
    doc(
        "id-unique",
        "an id is defined twice",
        "Each `%` and `@` id stands before one line of a text.",
    ),
    doc(
        "inner-dim-limit",
        "a sum of products is too long for i32",
        "Sums of i8 products are exact in i32 up to 131072 products. Cut the inner dimension and add \
         the parts.",
    ),
    doc(
        "inner-dims-agree",
        "the inner dimensions of a product differ",
        "The last axis of the first factor is as long as the axis of the second that it meets: the \
         last but one, or the last with `transpose_b`.",
    ),
    doc(
        "inputs-listed",
        "the list of inputs and the input nodes differ",
        "Each input node stands in the list once. Remove inputs with `remove_input`.",
    ),
    doc(
        "missing-attribute",
        "an attribute is missing",
        "The operator cannot be understood without it; the complaint says what is needed.",
    ),
    doc(
        "name-unique",
        "two inputs or two outputs have one name",
        "Callers find inputs and outputs by name.",
    ),
    doc(
        "no-dead-nodes",
        "nobody reads the results of a node",
        "After fusion, what does not lead to an output has been dropped.",
    ),
    doc(
        "one-entry-an-axis",
        "an attribute has more or fewer entries than the operand has axes",
        "Slices and pads say something for every axis.",
    ),
    doc(
        "one-graph",
        "a text is not one graph",
        "A text starts with `graph name` and holds one graph.",
    ),
    doc(
        "operand-count",
        "an operator has more or fewer operands than it takes",
        "Attributes such as `bias`, `residual`, `mask` and `affine` say which operands are there.",
    ),
    doc(
        "operand-is-bool",
        "an operand is not bool",
        "Conditions and logic work on bool.",
    ),
    doc(
        "operand-is-float",
        "an operand is not a float",
        "The operator computes with real numbers. Insert a cast.",
    ),
    doc(
        "operand-is-index",
        "an operand is not an index",
        "Indices are i64 or i32 and are not quantised.",
    ),
    doc(
        "operand-is-number",
        "an operand is not a number",
        "The operator computes; bool has no numbers.",
    ),
    doc(
        "operand-not-quantized",
        "an operand is quantised",
        "The operator works on numbers as they are. Dequantise it first.",
    ),
    doc(
        "operand-quantized",
        "an operand is not quantised",
        "Only quantised values can be dequantised; use a cast for plain integers.",
    ),
    doc(
        "operator-legal",
        "no machine command does this",
        "After legalisation only operators are left that the back end can lower. The operator was \
         not folded away nor written in terms of others.",
    ),
    doc(
        "perm-is-permutation",
        "a list of axes is no permutation",
        "A transpose names each axis of its operand once.",
    ),
    doc(
        "quant-fits",
        "a quantisation does not fit its tensor",
        "Only i8 is quantised. A scale is positive and finite, a group divides the last axis, a \
         channel axis exists.",
    ),
    doc(
        "quants-agree",
        "parts are not quantised alike",
        "Joined values share one quantisation. Quantise them alike, or join them before.",
    ),
    doc(
        "result-is-float",
        "a result cannot have these elements",
        "Products, attention and dequantisation give floats.",
    ),
    doc(
        "shapes-agree",
        "an operand has another shape than the others call for",
        "The complaint says which operand and what its shape must be.",
    ),
    doc(
        "shapes-broadcast",
        "shapes do not broadcast",
        "Axes are aligned at the end; two that meet are equal, or one of them has length 1.",
    ),
    doc(
        "size-limit",
        "a tensor is too large",
        "No tensor has 2^45 elements or more. Most likely an axis is bound to the wrong number.",
    ),
    doc(
        "slice-in-range",
        "a slice leaves its operand",
        "Every element that a slice takes exists, and its steps are not 0.",
    ),
    doc(
        "syntax",
        "a line of text is not understood",
        "The complaint says what was expected there.",
    ),
    doc(
        "type-mismatch",
        "a type differs from what the rule says",
        "The declared type of a result must be the one that the operator gives. Only the width of \
         floats may differ, where no attribute names it.",
    ),
    doc(
        "unknown-attribute",
        "an attribute does not belong to the operator",
        "It is misspelt, stands there twice or belongs to another operator.",
    ),
    doc(
        "unknown-operand",
        "there is no such value",
        "An operand or output names a node, a result of a node or a constant that does not exist.",
    ),
    doc(
        "unknown-operator",
        "there is no such operator",
        "Operators are written in small letters with underscores (`layer_norm`).",
    ),
    doc(
        "weights-quantized",
        "a product reads a large constant as floats",
        "After quantisation, products read constants of 4096 elements and more as i8: machines \
         multiply nothing else.",
    ),
];

const fn doc(code: &'static str, title: &'static str, text: &'static str) -> CodeDoc {
    CodeDoc { code, title, text }
}

#[cfg(test)]
mod tests {
    use super::CODES;

    /// Every source file that makes complaints.
    const SOURCES: [&str; 14] = [
        include_str!("infer.rs"),
        include_str!("infer/elementwise.rs"),
        include_str!("infer/index.rs"),
        include_str!("infer/layout.rs"),
        include_str!("infer/normalize.rs"),
        include_str!("infer/product.rs"),
        include_str!("infer/quantize.rs"),
        include_str!("verify.rs"),
        include_str!("verify/constants.rs"),
        include_str!("verify/stages.rs"),
        include_str!("text/attributes.rs"),
        include_str!("text/build.rs"),
        include_str!("text/lexer.rs"),
        include_str!("text/parser.rs"),
    ];

    /// Quoted slugs, and `operators.rs`, which has codes of two others.
    fn used() -> Vec<&'static str> {
        let all = SOURCES
            .into_iter()
            .chain([include_str!("text/operators.rs")]);
        let quoted = all.flat_map(|source| source.split('"').skip(1).step_by(2));
        let slug = |text: &&str| {
            text.contains('-') && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
                || matches!(*text, "cycle" | "syntax")
        };
        quoted.filter(slug).collect()
    }

    #[test]
    fn codes_are_sorted_and_all_of_them_are_used() {
        let codes: Vec<&str> = CODES.iter().map(|doc| doc.code).collect();
        assert!(codes.is_sorted());
        let used = used();
        for code in &codes {
            assert!(used.contains(code), "{code} is documented and not used");
        }
    }

    #[test]
    fn used_codes_are_documented() {
        for code in used() {
            assert!(
                CODES.iter().any(|doc| doc.code == code),
                "{code} is not documented"
            );
        }
    }
}

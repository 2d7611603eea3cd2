//! Names and codes of the small closed sets: element types, functions, kinds.
//!
//! One list for each set gives its byte in the encoding (the position in the list), its word in
//! the text form and its row in the documentation.

use crate::operand::{BinaryFn, Elem, Hold, NormKind, ReduceKind, RotaryLayout, UnaryFn};
use crate::program::RegionKind;

/// A closed set whose members have a word in the text form and a code in the encoding.
pub trait Spelled: Copy + PartialEq + 'static {
    /// What the set is called in messages and documentation.
    const WHAT: &'static str;
    /// All members, in the order of their codes.
    const ALL: &'static [Self];

    /// The word of the text form.
    fn name(self) -> &'static str;

    /// The byte of the encoding: the position in [`Spelled::ALL`].
    fn code(self) -> u8 {
        let position = Self::ALL.iter().position(|&each| each == self);
        position.expect("every member stands in the list") as u8
    }

    /// The member that has a code.
    fn from_code(code: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// The member that has a name.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|each| each.name() == name)
    }
}

/// Lists a set once: variant and word, in the order of codes.
macro_rules! spelled {
    ($ty:ident, $what:literal, { $($variant:ident $name:literal,)* }) => {
        impl Spelled for $ty {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = &[$($ty::$variant,)*];

            fn name(self) -> &'static str {
                match self { $($ty::$variant => $name,)* }
            }
        }

        impl std::fmt::Display for $ty {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

spelled!(Elem, "element type", {
    I8 "i8", I32 "i32", I64 "i64", F16 "f16", F32 "f32",
});
spelled!(UnaryFn, "function of one operand", {
    Identity "identity", Relu "relu", GeluErf "gelu_erf", GeluTanh "gelu_tanh", Silu "silu",
    Sigmoid "sigmoid", Tanh "tanh", Erf "erf", Exp "exp", Ln "ln", Sqrt "sqrt", Rsqrt "rsqrt",
    Reciprocal "reciprocal", Neg "neg", Abs "abs", Sin "sin", Cos "cos", Not "not",
});
spelled!(BinaryFn, "function of two operands", {
    Add "add", Sub "sub", Mul "mul", Div "div", Min "min", Max "max", Pow "pow", Equal "equal",
    Less "less", LessOrEqual "less_or_equal", Greater "greater",
    GreaterOrEqual "greater_or_equal", And "and", Or "or",
});
spelled!(NormKind, "normalisation", { Layer "layer", Rms "rms", });
spelled!(ReduceKind, "reduction", {
    Sum "sum", Mean "mean", Max "max", Min "min",
    SumSquares "sum_squares", ArgMax "arg_max",
});
spelled!(RotaryLayout, "rotary layout", { Half "half", Interleaved "interleaved", });
spelled!(Hold, "held operand", { B "b", A "a", });
spelled!(RegionKind, "kind of region", {
    Weights "weights", Embeddings "embeddings", Input "input", Output "output", Spill "spill",
    State "state", Packets "packets",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for &func in UnaryFn::ALL {
            assert_eq!(UnaryFn::from_code(u64::from(func.code())), Some(func));
            assert_eq!(UnaryFn::from_name(func.name()), Some(func));
        }
        assert_eq!(Elem::from_code(5), None);
        assert_eq!(Elem::from_name("i16"), None);
        assert_eq!(RegionKind::Packets.to_string(), "packets");
    }
}

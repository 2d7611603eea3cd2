//! The rules of the check: one row each, for messages and for the documentation.

/// What every program must obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable name.
    pub slug: &'static str,
    /// The rule.
    pub rule: &'static str,
    /// What to do about a breach.
    pub help: &'static str,
}

/// Declares the rules, and the list of all.
macro_rules! rules {
    ($($name:ident $slug:literal: $rule:literal, $help:literal;)*) => {
        $(
            #[doc = $rule]
            pub const $name: Rule = Rule { slug: $slug, rule: $rule, help: $help };
        )*

        /// All rules.
        pub const RULES: &[Rule] = &[$($name,)*];
    };
}

rules! {
    REGION_CONSTANT "region-constant":
        "Regions of weights and embeddings, and only they, lie inside the constants section.",
        "give the region an offset that fits the constants, or another kind";
    REGION_OVERLAP "region-overlap":
        "Regions of an entry do not overlap in DRAM; between entries they overlap only as the same constants or state, or as data of one pass.",
        "move one of the regions";
    REGION_PACKETS "region-packets":
        "An entry has at most one region for its packets, large enough for them.",
        "make the region as large as the encoded stream";
    PORT_REGION "port-region":
        "An input or output names a region of its kind, or state, of exactly its size; each region of inputs has one input.",
        "let region and port agree in kind and bytes";
    REGISTER "register":
        "A register is declared, and no number exceeds 64 bits at the declared maxima.",
        "declare the register, or lower its maximum";
    ORIGIN "origin":
        "A packet's origin is a row of the provenance table.",
        "add the origin";
    TOKEN_SIGNALS "token-signals":
        "A token is signalled exactly once in an entry.",
        "use a token for each packet that signals";
    TOKEN_WAITS "token-waits":
        "A packet waits only for tokens of packets before it in the stream.",
        "order the stream by its dependences";
    FREE_BOUNDS "free-bounds":
        "A freed range lies in SRAM.",
        "free what was placed";
    DRAM_BOUNDS "dram-bounds":
        "A transfer stays inside its region, for all values of the registers.",
        "enlarge the region, or move fewer rows";
    DRAM_READ_ONLY "dram-read-only":
        "Nothing is written to regions of weights, embeddings, inputs and packets.",
        "store to an output, spill or state region";
    SRAM_BOUNDS "sram-bounds":
        "An access to SRAM stays inside it, for all values of the registers.",
        "compile for a target with more SRAM";
    ELEMENT_TYPE "element-type":
        "A view has one of the element types that its field takes.",
        "convert the operand before";
    ELEMENT_SAME "element-same":
        "A command that moves elements without changing them has one element type.",
        "give source and result the same element type";
    VIEW_ALIGNED "view-aligned":
        "Address, pitch and step of a view are multiples of its element's size.",
        "align the buffer";
    VIEW_WRITTEN "view-written":
        "Elements or runs that a command writes do not overlap each other.",
        "give the result a pitch and a step that clear its rows and elements";
    IN_PLACE "in-place":
        "A result overlaps an operand only as the same view, where a command reads each row before it writes it; a softmax may also leave narrower rows where those that it reads begin.",
        "place the result elsewhere";
    MATMUL_GROUP "matmul-group":
        "The group of a product divides its contraction, which is at most 131072 long.",
        "choose a group that divides k, and cut a longer contraction into parts";
    MATMUL_BLOCK "matmul-block":
        "An int4 operand has two elements in each byte, side by side; its blocks divide the contraction, and of block and group one divides the other.",
        "let k, group and b_group be even, b have a step of 1, and b_group be k where there is no b_step";
    MATMUL_ACC "matmul-acc":
        "A product has partial sums exactly where it does not start and finish at once; i32 sums have one group.",
        "give acc a place for a part of a contraction only, in f32 for several groups";
    STATIC_SCALE "static-scale":
        "A static scale is a normal number above zero, and 1 where the result is not i8.",
        "set the scale with an i8 result only";
    QUANTIZE_GROUP "quantize-group":
        "The group of a quantisation divides the row; a static scale has no groups.",
        "choose a group that divides cols";
    SOFTMAX_SCALE "softmax-scale":
        "A softmax finds scales exactly for an i8 result.",
        "give dst_scale with an i8 result only";
    SOFTMAX_WINDOW "softmax-window":
        "The window of a softmax ends at the last column that a row sees: it stands with causal only.",
        "give causal, the last column that row 0 sees";
    NORM_BETA "norm-beta":
        "Only a LayerNorm has a beta.",
        "add the vector with a command of its own";
    TABLE_ROWS "table-rows":
        "A table that rows are taken from has at least one row.",
        "give the number of rows of the table";
    ROTARY_WIDTH "rotary-width":
        "The rotated width is even.",
        "rotate pairs";
    SRAM_UNWRITTEN "sram-unwritten":
        "Bytes of SRAM are read only after something was written to them.",
        "load or compute the bytes before";
    SRAM_FREED "sram-freed":
        "Bytes of SRAM are not read by packets behind one that freed them.",
        "free the range in the last packet that reads it";
    SRAM_RACE "sram-race":
        "Packets that touch the same bytes of SRAM, one of them writing, are ordered by tokens.",
        "let the later packet wait for a token of the earlier one";
    DRAM_UNWRITTEN "dram-unwritten":
        "Bytes of spills and outputs are read only after something was stored to them.",
        "store the bytes before";
    DRAM_RACE "dram-race":
        "Packets that touch the same bytes of DRAM, one of them storing, are ordered by tokens.",
        "let the later packet wait for a token of the earlier one";
    OUTPUT_UNWRITTEN "output-unwritten":
        "Every byte of an output is stored.",
        "store the whole output";
    CHECK_LIMIT "check-limit":
        "The order of packets is known with 512 MiB of bookkeeping.",
        "signal fewer tokens over long distances";
}

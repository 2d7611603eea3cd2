//! Each rule's hit and error.

use proptest::prelude::*;

use super::*;
use crate::op::{Matmul, Unary};
use crate::text::operator_line;

/// Checks lines of `operator attributes : operands -> results or code`, operands divided by bars.
#[track_caller]
fn check(lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (call, expected) = line.split_once(" -> ").unwrap();
        let (operator, operands) = call.split_once(" :").unwrap();
        let operands: Vec<&str> = operands.split('|').filter(|ty| !ty.is_empty()).collect();
        let (op, types) = operator_line(operator, &operands);
        let types: Vec<&Type> = types.iter().collect();
        let found = match infer(&op, &types) {
            Ok(types) => types
                .iter()
                .map(Type::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            Err(complaint) => complaint.code.to_owned(),
        };
        assert_eq!(found, expected, "{line}");
    }
}

/// A type of the text form.
fn ty(text: &str) -> Type {
    operator_line("relu", &[text]).1.swap_remove(0)
}

#[test]
fn shapes_broadcast_from_the_end() {
    assert_eq!(broadcast(&[2, 3], &[3]), Some(vec![2, 3]));
    assert_eq!(broadcast(&[2, 1, 4], &[3, 1]), Some(vec![2, 3, 4]));
    assert_eq!(broadcast(&[], &[5]), Some(vec![5]));
    assert_eq!(broadcast(&[1], &[0]), Some(vec![0]));
    assert_eq!(broadcast(&[2], &[3]), None);
    assert_eq!(broadcast(&[2, 3], &[2]), None);
}

proptest! {
    #[test]
    fn broadcasting_is_symmetric_and_idempotent(
        a in prop::collection::vec(0usize..4, 0..5),
        b in prop::collection::vec(0usize..4, 0..5),
    ) {
        let shape = broadcast(&a, &b);
        prop_assert_eq!(&shape, &broadcast(&b, &a));
        if let Some(shape) = shape {
            prop_assert_eq!(broadcast(&a, &shape), Some(shape.clone()));
            prop_assert_eq!(broadcast(&b, &shape), Some(shape));
        }
    }
}

#[test]
fn unary_keeps_the_type() {
    check(
        "
        gelu_erf : f16[2,3] -> f16[2,3]
        neg : i64[2] -> i64[2]
        is_nan : f32[2] -> bool[2]
        not : bool[2] -> bool[2]
        exp : i64[2] -> operand-is-float
        not : f32[2] -> operand-is-bool
        abs : bool[2] -> operand-is-number
        relu : i8[2,4] row(4) -> operand-not-quantized
        relu : -> operand-count
        relu : f32[2] | f32[2] -> operand-count
        ",
    );
}

#[test]
fn binary_broadcasts() {
    check(
        "
        add : f32[2,3] | f32[3] -> f32[2,3]
        mul : f16[2,1] | f32[3] -> f32[2,3]
        less : i64[2] | i64[] -> bool[2]
        equal : bool[2] | bool[2] -> bool[2]
        and : bool[2,1] | bool[3] -> bool[2,3]
        add : f32[2] | f32[3] -> shapes-broadcast
        add : f32[2] | i64[2] -> elements-agree
        sub : bool[2] | bool[2] -> operand-is-number
        or : bool[2] | i8[2] -> operand-is-bool
        max : i8[2,4] scale(0.5) | f32[4] -> operand-not-quantized
        ",
    );
}

#[test]
fn where_broadcasts_all_three() {
    check(
        "
        where : bool[2,1] | f32[3] | f32[] -> f32[2,3]
        where : bool[] | bool[3] | bool[3] -> bool[3]
        where : i64[3] | f32[3] | f32[3] -> operand-is-bool
        where : bool[3] | f32[3] | i64[3] -> elements-agree
        where : bool[2] | f32[3] | f32[3] -> shapes-broadcast
        ",
    );
}

#[test]
fn cast_changes_the_elements() {
    check(
        "
        cast to=i64 : f32[2] -> i64[2]
        cast to=f32 : i8[2] scale(1.0) -> operand-not-quantized
        ",
    );
}

#[test]
fn reshape_keeps_elements_and_groups() {
    check(
        "
        reshape shape=[6] : f32[2,3] -> f32[6]
        reshape shape=[] : f32[1,1] -> f32[]
        reshape shape=[0,7] : f32[0] -> f32[0,7]
        reshape shape=[4,8] : i8[2,2,8] row(4) -> i8[4,8] row(4)
        reshape shape=[32] : i8[4,8] scale(0.5) -> i8[32] scale(0.5)
        reshape shape=[7] : f32[2,3] -> element-count-kept
        reshape shape=[32] : i8[4,8] row(8) -> groups-stay-whole
        reshape shape=[32] : i8[4,8] channel(0) -> groups-stay-whole
        reshape shape=[18446744073709551615,2] : f32[2] -> size-limit
        ",
    );
}

#[test]
fn transpose_permutes() {
    check(
        "
        transpose perm=[2,0,1] : f32[2,3,4] -> f32[4,2,3]
        transpose perm=[1,0,2] : i8[2,3,4] row(2) -> i8[3,2,4] row(2)
        transpose perm=[1,0] : i8[2,4] channel(0) -> i8[4,2] channel(1)
        transpose perm=[1,0] : i8[2,4] row(4) -> groups-stay-whole
        transpose perm=[0,0] : f32[2,3] -> perm-is-permutation
        transpose perm=[0] : f32[2,3] -> perm-is-permutation
        transpose perm=[0,2] : f32[2,3] -> perm-is-permutation
        ",
    );
}

#[test]
fn expand_repeats() {
    check(
        "
        expand shape=[2,3] : f32[1] -> f32[2,3]
        expand shape=[5,2,4] : i8[1,4] row(2) -> i8[5,2,4] row(2)
        expand shape=[5,2,4] : i8[2,1] channel(0) -> i8[5,2,4] channel(1)
        expand shape=[3] : f32[2] -> shapes-broadcast
        expand shape=[3] : f32[2,3] -> shapes-broadcast
        expand shape=[4] : i8[1] row(1) -> groups-stay-whole
        expand shape=[4] : i8[1] channel(0) -> groups-stay-whole
        ",
    );
}

#[test]
fn concat_joins() {
    check(
        "
        concat axis=1 : f32[2,3] | f32[2,4] | f32[2,0] -> f32[2,7]
        concat axis=0 : i8[2,4] row(4) | i8[1,4] row(4) -> i8[3,4] row(4)
        concat axis=0 : i8[2,4] channel(0) | i8[1,4] channel(0) -> i8[3,4] channel(0)
        concat axis=1 : i8[2,4] channel(0) | i8[2,4] channel(0) -> groups-stay-whole
        concat axis=0 : i8[2,4] scale(0.5) | i8[2,4] scale(0.25) -> quants-agree
        concat axis=0 : f32[2,3] | f32[2,4] -> shapes-agree
        concat axis=0 : f32[2,3] | i64[2,3] -> elements-agree
        concat axis=2 : f32[2,3] -> axis-in-range
        concat axis=0 : -> operand-count
        ",
    );
}

#[test]
fn slice_stays_inside() {
    check(
        "
        slice start=[1,0] count=[2,3] : f32[3,4] -> f32[2,3]
        slice start=[3] count=[4] step=[-1] : f32[4] -> f32[4]
        slice start=[9] count=[0] : f32[4] -> f32[0]
        slice start=[0] count=[3] step=[2] : f32[4] -> slice-in-range
        slice start=[1] count=[3] step=[-1] : f32[4] -> slice-in-range
        slice start=[0] count=[1] step=[0] : f32[4] -> slice-in-range
        slice start=[0] count=[18446744073709551615] step=[9223372036854775807] : f32[4] -> slice-in-range
        slice start=[0] count=[1] : f32[4,4] -> one-entry-an-axis
        slice start=[0,4] count=[2,4] : i8[2,8] row(4) -> i8[2,4] row(4)
        slice start=[0,2] count=[2,4] : i8[2,8] row(4) -> groups-stay-whole
        slice start=[0,7] count=[2,8] step=[1,-1] : i8[2,8] row(4) -> groups-stay-whole
        ",
    );
}

#[test]
fn pad_adds() {
    check(
        "
        pad before=[1,0] after=[0,2] value=0.0 : f32[2,3] -> f32[3,5]
        pad before=[1] after=[0,2] value=0.0 : f32[2,3] -> one-entry-an-axis
        pad before=[18446744073709551615] after=[18446744073709551615] value=0.0 : f32[2] -> size-limit
        pad before=[0] after=[0] value=0.0 : i8[2] scale(1.0) -> operand-not-quantized
        ",
    );
}

#[test]
fn gather_replaces_the_axis() {
    check(
        "
        gather axis=0 : f16[9,4] | i64[2,3] -> f16[2,3,4]
        gather axis=1 : f32[9,4] | i32[] -> f32[9]
        gather axis=0 : i8[9,4] channel(0) | i64[2] -> f32[2,4]
        gather axis=0 : i8[9,4] row(2) | i64[2] -> i8[2,4] row(2)
        gather axis=1 : i8[9,4] channel(1) | i64[2] -> groups-stay-whole
        gather axis=1 : i8[9,4] row(2) | i64[2] -> groups-stay-whole
        gather axis=2 : f32[9,4] | i64[2] -> axis-in-range
        gather axis=0 : f32[9,4] | f32[2] -> operand-is-index
        ",
    );
}

#[test]
fn element_wise_gather_and_scatter_stay_inside() {
    check(
        "
        gather_elements axis=1 : f32[2,3] | i64[1,9] -> f32[1,9]
        gather_elements axis=1 : f32[2,3] | i64[3,1] -> shapes-agree
        gather_elements axis=1 : f32[2,3] | f32[2,3] -> operand-is-index
        scatter_elements axis=0 : f32[2,3] | i64[1,3] | f32[1,3] -> f32[2,3]
        scatter_elements axis=0 : f32[2,3] | i64[1,3] | f32[3] -> shapes-agree
        scatter_elements axis=0 : f32[2,3] | i64[1,3] | i64[1,3] -> elements-agree
        scatter_nd : f32[4,5,6] | i64[7,2] | f32[7,6] -> f32[4,5,6]
        scatter_nd : f32[4,5,6] | i64[7,2] | f32[7,5] -> shapes-agree
        scatter_nd : f32[4] | i64[7,2] | f32[7] -> axis-in-range
        scatter_nd : f32[4] | i64[] | f32[] -> enough-axes
        ",
    );
}

#[test]
fn sorting_and_triangles() {
    check(
        "
        top_k axis=1 count=2 largest : f32[4,3] -> f32[4,2], i64[4,2]
        top_k axis=1 count=4 largest : f32[4,3] -> count-in-range
        top_k axis=1 count=1 largest : f32[4] -> axis-in-range
        arg_max axis=0 keep : f32[4,3] -> i64[1,3]
        arg_max axis=0 : f32[4,3] -> i64[3]
        arg_max axis=0 : f32[0] -> count-in-range
        cum_sum axis=1 : i64[4,3] -> i64[4,3]
        cum_sum axis=1 : bool[4,3] -> operand-is-number
        trilu k=0 : bool[4,3] -> bool[4,3]
        trilu k=0 : f32[4] -> enough-axes
        random_normal seed=0 : f32[4] -> f32[4]
        random_normal seed=0 : i64[4] -> operand-is-float
        ",
    );
}

#[test]
fn reductions_and_norms() {
    check(
        "
        reduce_sum axes=[0,2] keep : f32[2,3,4] -> f32[1,3,1]
        reduce_sum axes=[0,2] : i64[2,3,4] -> i64[3]
        reduce_sum axes=[1,1] : f32[2,3] -> axes-differ
        reduce_sum axes=[2] : f32[2,3] -> axis-in-range
        reduce_mean axes=[0] : i64[2] -> operand-is-float
        softmax axis=1 : f32[2,3] -> f32[2,3]
        softmax axis=2 : f32[2,3] -> axis-in-range
        layer_norm eps=1e-12 affine : f16[2,3] | f32[3] | f32[3] -> f16[2,3]
        layer_norm eps=1e-12 affine : f32[2,3] | f32[3] | f32[2] -> shapes-agree
        layer_norm eps=1e-12 affine : f32[2,3] | f32[3] -> operand-count
        layer_norm eps=-1.0 affine : f32[2,3] | f32[3] | f32[3] -> attribute-range
        rms_norm eps=0.0 : f32[2,3] -> f32[2,3]
        rms_norm eps=0.0 : f32[] -> enough-axes
        ",
    );
}

#[test]
fn matmul_of_floats() {
    check(
        "
        matmul : f32[8,16] | f16[16,32] -> f32[8,32]
        matmul : f32[2,1,8,16] | f32[3,16,32] -> f32[2,3,8,32]
        matmul : f32[8,16] | f32[8,16] -> inner-dims-agree
        matmul : f32[16] | f32[16,8] -> enough-axes
        matmul : f32[2,8,16] | f32[3,16,32] -> shapes-broadcast
        matmul : i64[8,16] | i64[16,32] -> factors-fit
        matmul transpose_b bias residual out=f16 : f32[8,16] | f32[32,16] | f32[32] | f32[8,32] -> f16[8,32]
        matmul transpose_b bias residual out=i8 : f32[8,16] | f32[32,16] | f32[32] | f32[8,32] -> result-is-float
        matmul transpose_b bias residual : f32[8,16] | f32[32,16] | f32[32] -> operand-count
        matmul transpose_b bias residual : f32[8,16] | f32[32,16] | f32[1] | f32[8,32] -> shapes-agree
        matmul transpose_b bias residual : f32[8,16] | f32[32,16] | f32[32] | f32[32] -> shapes-agree
        matmul alpha=NaN : f32[8,16] | f32[16,32] -> attribute-range
        ",
    );
}

#[test]
fn matmul_of_quantised_factors() {
    check(
        "
        matmul : i8[8,16] row(16) | i8[16,32] channel(1) -> f32[8,32]
        matmul : i8[8,16] row(4) | i8[16,32] scale(0.5) -> f32[8,32]
        matmul transpose_b : i8[8,16] scale(0.5) | i8[32,16] channel(0) -> f32[8,32]
        matmul transpose_b : i8[8,16] row(8) | i8[32,16] row(16) -> f32[8,32]
        matmul : i8[8,16] row(16) | i8[16,32] channel(0) -> factors-fit
        matmul : i8[8,16] row(16) | i8[16,32] row(32) -> factors-fit
        matmul transpose_b : i8[8,16] row(16) | i8[32,16] row(8) -> factors-fit
        matmul : f32[8,16] | i8[16,32] channel(1) -> factors-fit
        matmul : i8[8,16] channel(0) | i8[16,32] channel(1) -> factors-fit
        matmul : i8[8,16] | i8[16,32] -> factors-fit
        matmul : i8[8,16] row(5) | i8[16,32] channel(1) -> quant-fits
        matmul : i8[8,16] row(0) | i8[16,32] channel(1) -> quant-fits
        matmul : i8[1,200000] scale(1.0) | i8[200000,1] channel(1) -> inner-dim-limit
        ",
    );
}

#[test]
fn attention_over_heads() {
    check(
        "
        attention heads=4 kv_heads=2 scale=0.125 : f32[1,8,64] | f32[1,9,32] | f32[1,9,16] -> f32[1,8,32]
        attention heads=4 kv_heads=4 scale=0.125 mask : f32[1,8,64] | f32[1,9,64] | f32[1,9,64] | f32[1,1,1,9] -> f32[1,8,64]
        attention heads=4 kv_heads=4 scale=0.125 mask : f32[1,8,64] | f32[1,9,64] | f32[1,9,64] | f32[8,9] -> f32[1,8,64]
        attention heads=4 kv_heads=4 scale=0.125 mask : f32[1,8,64] | f32[1,9,64] | f32[1,9,64] | f32[2,1,1,9] -> shapes-broadcast
        attention heads=4 kv_heads=4 scale=0.125 mask : f32[1,8,64] | f32[1,9,64] | f32[1,9,64] | bool[8,9] -> operand-is-float
        attention heads=4 kv_heads=3 scale=0.125 : f32[1,8,64] | f32[1,9,48] | f32[1,9,48] -> heads-divide
        attention heads=0 kv_heads=0 scale=0.125 : f32[1,8,64] | f32[1,9,64] | f32[1,9,64] -> heads-divide
        attention heads=5 kv_heads=5 scale=0.125 : f32[1,8,64] | f32[1,9,64] | f32[1,9,64] -> heads-divide
        attention heads=4 kv_heads=4 scale=0.125 : f32[1,8,64] | f32[1,9,64] | f32[1,8,64] -> shapes-agree
        attention heads=4 kv_heads=4 scale=0.125 : f32[1,8,64] | f32[1,9,32] | f32[1,9,64] -> shapes-agree
        attention heads=4 kv_heads=4 scale=0.125 : i8[1,8,64] row(16) | f32[1,9,64] | f32[1,9,64] -> factors-fit
        attention heads=4 kv_heads=4 scale=0.125 : f32[1,8,64] | i8[1,9,64] row(16) | f32[1,9,64] -> operand-not-quantized
        attention heads=4 scale=0.125 : i8[1,8,64] row(16) | i8[1,9,64] row(16) | i8[1,9,64] row(16) -> f32[1,8,64]
        attention heads=4 scale=0.125 : i8[1,8,64] row(8) | i8[1,9,64] row(8) | i8[1,9,64] row(8) -> f32[1,8,64]
        attention heads=4 scale=0.125 : i8[1,8,64] row(32) | i8[1,9,64] row(32) | i8[1,9,64] row(32) -> groups-stay-whole
        ",
    );
}

#[test]
fn embedding_sums_rows() {
    check(
        "
        embedding : i64[2,3] | f16[9,4] -> f32[2,3,4]
        embedding : i64[2,3] | f32[9,4] | i64[1,3] | i8[5,4] channel(0) -> f32[2,3,4]
        embedding : i64[2,3] | f32[9,4] | i64[1,3] | f32[5,3] -> shapes-agree
        embedding : i64[2,3] | f32[9,4] | i64[4] | f32[5,4] -> shapes-broadcast
        embedding : i64[2,3] | i8[9,4] channel(1) -> operand-not-quantized
        embedding : f32[2,3] | f32[9,4] -> operand-is-index
        embedding : i64[2] | f32[4] -> shapes-agree
        embedding : -> operand-count
        embedding tables=2 : i64[2,3] | f32[9,4] -> operand-count
        ",
    );
}

#[test]
fn rotary_turns_pairs() {
    check(
        "
        rotary heads=2 : f16[1,3,8] | f32[3,2] | f32[3,2] -> f16[1,3,8]
        rotary heads=2 : f32[1,3,8] | f32[3,2] | f32[3,4] -> shapes-agree
        rotary heads=8 : f32[1,3,8] | f32[3,0] | f32[3,0] -> heads-divide
        rotary heads=0 : f32[1,3,8] | f32[3,0] | f32[3,0] -> heads-divide
        ",
    );
}

#[test]
fn quantisation_and_back() {
    check(
        "
        quantize row(4) : f16[2,8] -> i8[2,8] row(4)
        quantize channel(1) : f32[2,8] -> i8[2,8] channel(1)
        quantize row(3) : f32[2,8] -> quant-fits
        quantize row(1) : f32[] -> quant-fits
        quantize channel(2) : f32[2,8] -> quant-fits
        quantize scale(0.0) : f32[2,8] -> quant-fits
        quantize scale(NaN) : f32[2,8] -> quant-fits
        quantize scale(1.0) : i64[2,8] -> operand-is-float
        dequantize to=f16 : i8[2,8] row(4) -> f16[2,8]
        dequantize to=f16 : i8[2,8] -> operand-quantized
        dequantize to=i64 : i8[2,8] row(4) -> result-is-float
        ",
    );
}

#[test]
fn sizes_have_a_limit() {
    check(
        "
        matmul : f32[1099511627776,1] | f32[1,1099511627776] -> size-limit
        relu : f32[0,1099511627776,1099511627776] -> size-limit
        ",
    );
}

#[test]
fn inputs_and_constants_are_declared() {
    let complaint = infer(
        &Op::Input {
            name: "x".to_owned(),
        },
        &[],
    )
    .unwrap_err();
    assert_eq!(complaint.code, "declared-type");
}

#[test]
fn only_the_width_of_computed_floats_is_free() {
    let (wide, narrow) = (ty("f32[2,3]"), ty("f16[2,3]"));
    assert!(accepts(&Op::Unary(Unary::Relu), &wide, &narrow));
    assert!(accepts(&Op::Embedding { tables: 1 }, &wide, &narrow));
    assert!(accepts(&Op::Matmul(Matmul::default()), &wide, &wide));
    assert!(!accepts(&Op::Matmul(Matmul::default()), &wide, &narrow));
    assert!(!accepts(&Op::Cast { to: Elem::F32 }, &wide, &narrow));
    assert!(!accepts(&Op::Unary(Unary::Relu), &wide, &ty("f16[3,2]")));
    assert!(!accepts(
        &Op::Unary(Unary::Neg),
        &ty("i64[2]"),
        &ty("f32[2]")
    ));
}

#[test]
fn add_refuses_and_leaves_the_graph() {
    let mut graph = Graph::new("g");
    let x = graph.add_input("x", ty("f32[2,3]"));
    let missing = Value {
        node: x.node,
        slot: 1,
    };
    let relu = || Op::Unary(Unary::Relu);
    let complaint = add(&mut graph, relu(), &[missing], OriginId(0)).unwrap_err();
    assert_eq!(complaint.code, "unknown-operand");
    let complaint = add(&mut graph, relu(), &[x, x], OriginId(0)).unwrap_err();
    assert_eq!(complaint.code, "operand-count");
    assert_eq!(graph.node_count(), 1);
    let y = add(&mut graph, relu(), &[x], OriginId(0)).unwrap();
    assert_eq!(graph.types(y), [ty("f32[2,3]")]);
}

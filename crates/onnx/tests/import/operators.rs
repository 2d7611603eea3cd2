//! Operators: constants are computed, the rest becomes few nodes, the unsupported is reported.

use packwright_ir::tensor::{Data, Tensor, array};
use packwright_onnx::proto::tensor_proto::DataType;
use packwright_onnx::registry;

use crate::small::{Small, count, float, int, ints, text};

fn i64s(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::i64(shape, values.to_vec())
}

/// Values of one operator over constants.
fn fold(
    op: &str,
    operands: &[Tensor],
    attributes: Vec<packwright_onnx::proto::AttributeProto>,
) -> (Vec<usize>, Vec<f64>) {
    let names: Vec<String> = (0..operands.len()).map(|i| format!("c{i}")).collect();
    let mut small = Small::new(17);
    for (name, tensor) in names.iter().zip(operands) {
        small = small.weight(name, tensor);
    }
    small
        .node_with(op, &names.join(","), "y", attributes)
        .output("y")
        .value()
}

#[test]
fn shapes_are_constants() {
    let small = Small::new(17)
        .input("x", DataType::Float, "2,3,4")
        .node_with("Shape", "x", "s", vec![int("start", 1)])
        .weight("i", &i64s(&[], &[-1]))
        .node("Gather", "s,i", "last")
        .weight("zero", &i64s(&[1], &[0]))
        .node("Unsqueeze", "last,zero", "u")
        .node("Concat", "u,s", "y");
    let mut small = small.output("y");
    small.graph().node[3].attribute.push(int("axis", 0));
    assert_eq!(small.value(), (vec![3], vec![4.0, 3.0, 4.0]));
}

#[test]
fn slices_clamp_and_step_backwards() {
    let x = i64s(&[6], &[0, 1, 2, 3, 4, 5]);
    let slice = |s: i64, e: i64, step: i64| {
        fold(
            "Slice",
            &[
                x.clone(),
                i64s(&[1], &[s]),
                i64s(&[1], &[e]),
                i64s(&[1], &[0]),
                i64s(&[1], &[step]),
            ],
            vec![],
        )
        .1
    };
    assert_eq!(slice(1, i64::MAX, 2), [1.0, 3.0, 5.0]);
    assert_eq!(slice(-1, i64::MIN, -2), [5.0, 3.0, 1.0]);
    assert_eq!(slice(4, 2, 1), [] as [f64; 0]);
    assert_eq!(slice(i64::MIN, -4, 1), [0.0, 1.0]);
}

#[test]
fn ranges_count_to_the_limit() {
    let range = |a, b, c| {
        fold(
            "Range",
            &[i64s(&[], &[a]), i64s(&[], &[b]), i64s(&[], &[c])],
            vec![],
        )
        .1
    };
    assert_eq!(range(0, 5, 2), [0.0, 2.0, 4.0]);
    assert_eq!(range(5, 0, -2), [5.0, 3.0, 1.0]);
    assert_eq!(range(0, -1, 1), [] as [f64; 0]);
}

#[test]
fn reshape_copies_and_infers() {
    let y = fold(
        "Reshape",
        &[i64s(&[2, 3], &[0; 6]), i64s(&[3], &[0, -1, 1])],
        vec![],
    );
    assert_eq!(y.0, [2, 3, 1]);
}

#[test]
fn split_tile_pad_and_cumsum() {
    let x = i64s(&[3], &[1, 2, 3]);
    assert_eq!(
        fold("Tile", &[x.clone(), i64s(&[1], &[2])], vec![]).1,
        [1., 2., 3., 1., 2., 3.]
    );
    assert_eq!(
        fold("Pad", &[x.clone(), i64s(&[2], &[-1, 2])], vec![]).1,
        [2., 3., 0., 0.]
    );
    let axis = i64s(&[], &[0]);
    assert_eq!(
        fold("CumSum", &[x.clone(), axis.clone()], vec![]).1,
        [1., 3., 6.]
    );
    let backwards = vec![int("reverse", 1), int("exclusive", 1)];
    assert_eq!(fold("CumSum", &[x, axis], backwards).1, [5., 3., 0.]);
}

#[test]
fn positions_of_known_values() {
    let x = i64s(&[2, 2], &[0, 4, 5, 0]);
    assert_eq!(
        fold("NonZero", &[x], vec![]),
        (vec![2, 2], vec![0., 1., 1., 0.])
    );
}

#[test]
fn gemm_is_one_product() {
    let small = Small::new(17)
        .input("x", DataType::Float, "2,32")
        .weight("w", &count(&[40, 32]))
        .weight("b", &count(&[40]))
        .node_with(
            "Gemm",
            "x,w,b",
            "y",
            vec![int("transB", 1), float("alpha", 0.5)],
        )
        .output("y");
    insta::assert_snapshot!(small.ops().join("\n"), @"Matmul(Matmul { transpose_b: true, parts: 1, alpha: 0.5, bias: true, activation: None, residual: false, out: F32 })");
}

#[test]
fn einsum_is_one_product() {
    let small = Small::new(17)
        .input("q", DataType::Float, "2,3,8,4")
        .input("k", DataType::Float, "2,3,6,4")
        .node_with(
            "Einsum",
            "q,k",
            "s",
            vec![text("equation", "bcxd,bcyd->bcxy")],
        )
        .input("v", DataType::Float, "2,6,3,5")
        .node_with(
            "Einsum",
            "s,v",
            "y",
            vec![text("equation", "bcxy,bycd->bxcd")],
        )
        .output("y");
    insta::assert_snapshot!(small.ops().join("\n"), @r"
    Matmul(Matmul { transpose_b: true, parts: 1, alpha: 1.0, bias: false, activation: None, residual: false, out: F32 })
    Transpose { perm: [0, 2, 1, 3] }
    Matmul(Matmul { transpose_b: false, parts: 1, alpha: 1.0, bias: false, activation: None, residual: false, out: F32 })
    Transpose { perm: [0, 2, 1, 3] }
    ");
    assert_eq!(
        small.import().graph.facts.macs,
        2 * 3 * 8 * 6 * 4 + 2 * 3 * 8 * 6 * 5
    );
}

#[test]
fn what_changes_nothing_leaves_no_node() {
    let small = Small::new(17)
        .input("x", DataType::Float, "2,3")
        .node("Identity", "x", "a")
        .node_with("Cast", "a", "b", vec![int("to", 1)])
        .weight("shape", &i64s(&[2], &[2, 3]))
        .node("Reshape", "b,shape", "c")
        .node("Expand", "c,shape", "d")
        .node_with("Concat", "d", "e", vec![int("axis", 0)])
        .node_with("Transpose", "e", "f", vec![ints("perm", &[0, 1])])
        .node("Dropout", "f", "g")
        .node("Relu", "g", "y")
        .output("y");
    assert_eq!(small.ops(), ["Unary(Relu)"]);
}

#[test]
fn a_slice_assignment_is_no_scatter() {
    // x[:, 1:3] = u, as exporters write it: one index tuple for each element.
    let tuples: Vec<i64> = (0..2)
        .flat_map(|i| (1..3).flat_map(move |j| [i, j]))
        .collect();
    let small = Small::new(17)
        .input("x", DataType::Float, "2,5")
        .input("u", DataType::Float, "2,2")
        .weight("at", &i64s(&[2, 2, 2], &tuples))
        .node("ScatterND", "x,at,u", "y")
        .output("y");
    insta::assert_snapshot!(small.ops().join("\n"), @r"
    Slice { start: [0, 0], count: [2, 1], step: [1, 1] }
    Slice { start: [0, 3], count: [2, 2], step: [1, 1] }
    Concat { axis: 1 }
    ");
}

#[test]
fn a_large_index_table_is_never_made() {
    // Rows 64 to 192 of each of 8 matrices, written element by element.
    let small = Small::new(17)
        .input("x", DataType::Float, "8,256,64")
        .input("u", DataType::Float, "8,128,64")
        .weight("shape", &i64s(&[3], &[8, 128, 64]))
        .weight("i", &i64s(&[8, 1, 1], &(0..8).collect::<Vec<_>>()))
        .weight("j", &i64s(&[128, 1], &(64..192).collect::<Vec<_>>()))
        .weight("k", &i64s(&[64], &(0..64).collect::<Vec<_>>()))
        .weight("last", &i64s(&[1], &[-1]))
        .node("Expand", "i,shape", "ie")
        .node("Expand", "j,shape", "je")
        .node("Expand", "k,shape", "ke")
        .node("Unsqueeze", "ie,last", "iu")
        .node("Unsqueeze", "je,last", "ju")
        .node("Unsqueeze", "ke,last", "ku")
        .node_with("Concat", "iu,ju,ku", "at", vec![int("axis", -1)])
        .node("ScatterND", "x,at,u", "y")
        .output("y");
    insta::assert_snapshot!(small.ops().join("\n"), @r"
    Slice { start: [0, 0, 0], count: [8, 64, 64], step: [1, 1, 1] }
    Slice { start: [0, 192, 0], count: [8, 64, 64], step: [1, 1, 1] }
    Concat { axis: 1 }
    ");
    assert!(small.import().graph.consts().is_empty());
}

#[test]
fn overlapping_windows_are_slices() {
    // Windows of 8 rows every 4 rows, as a table of flat positions.
    let small = Small::new(17)
        .input("x", DataType::Float, "16,1024")
        .weight("flat", &i64s(&[1], &[-1]))
        .node("Reshape", "x,flat", "v")
        .weight("w", &i64s(&[3, 1, 1], &[0, 4096, 8192]))
        .weight(
            "r",
            &i64s(&[8, 1], &(0..8).map(|i| i * 1024).collect::<Vec<_>>()),
        )
        .weight("c", &i64s(&[1024], &(0..1024).collect::<Vec<_>>()))
        .node("Add", "w,r", "wr")
        .node("Add", "wr,c", "at")
        .node("Gather", "v,at", "y")
        .output("y");
    insta::assert_snapshot!(small.ops().join("\n"), @r"
    Reshape { shape: [16384] }
    Slice { start: [0], count: [8192], step: [1] }
    Slice { start: [4096], count: [8192], step: [1] }
    Slice { start: [8192], count: [8192], step: [1] }
    Concat { axis: 0 }
    Reshape { shape: [3, 8, 1024] }
    ");
}

#[test]
fn runtime_operators() {
    let layer = Small::new(17)
        .input("x", DataType::Float, "2,4")
        .weight("g", &count(&[4]))
        .node_with(
            "LayerNormalization",
            "x,g",
            "n",
            vec![float("epsilon", 0.5)],
        )
        .node("com.microsoft:QuickGelu", "n", "q")
        .node_with("Softmax", "q", "s", vec![int("axis", 0)])
        .node_with(
            "ReduceMean",
            "s",
            "y",
            vec![ints("axes", &[-1]), int("keepdims", 0)],
        )
        .output("y");
    insta::assert_snapshot!(layer.ops().join("\n"), @r"
    LayerNorm { eps: 0.5, affine: true }
    Binary(Mul)
    Unary(Sigmoid)
    Binary(Mul)
    Softmax { axis: 0 }
    Reduce { kind: Mean, axes: [1], keep: false }
    ");
}

#[test]
fn everything_unsupported_is_reported_once() {
    let small = Small::new(17)
        .input("x", DataType::Float, "2,4")
        .input("n", DataType::Int64, "2")
        .node("custom:Magic", "x", "a")
        .node("Relu", "a", "b")
        .node("NonZero", "x", "c")
        .node("Reshape", "x,n", "d")
        .node("Gelu", "x", "e")
        .node("Loop", "x", "f")
        .node("Add", "b,c", "g")
        .node("Add", "missing,x", "h")
        .node("MatMul", "x,x", "i")
        .output("g");
    insta::assert_snapshot!(small.problems());
}

#[test]
fn ten_unsupported_things_are_ten_entries() {
    let chain = [
        "custom:One",
        "Conv",
        "LSTM",
        "com.microsoft:PagedAttention",
        "Loop",
        "GRU",
        "custom:Two",
        "Resize",
        "com.microsoft:QMoE",
        "Unique",
    ];
    let mut small = Small::new(17).input("x", DataType::Float, "2,4");
    let mut last = "x".to_owned();
    for (i, op) in chain.iter().enumerate() {
        // What stands between them is fine and follows from an error.
        small = small.node(op, &last, &format!("v{i}")).node(
            "Relu",
            &format!("v{i}"),
            &format!("r{i}"),
        );
        last = format!("r{i}");
    }
    let small = small.output("r9");
    let problems =
        packwright_onnx::import(&small.model(), &packwright_onnx::ImportOptions::default())
            .unwrap_err();
    assert_eq!(problems.0.len(), chain.len());
    insta::assert_snapshot!(problems);
}

#[test]
fn sizes_that_wait_for_the_same_inputs_are_one_entry() {
    let small = Small::new(17)
        .input("mask", DataType::Int64, "1,4")
        .input("global_mask", DataType::Int64, "1,4")
        .input("lengths", DataType::Int64, "1")
        .node("Mul", "mask,global_mask", "both")
        .node("NonZero", "both", "a")
        .node("NonZero", "mask", "b")
        .node("Expand", "mask,lengths", "c")
        .node("NonZero", "global_mask", "d")
        .output("a")
        .output("c");
    let problems =
        packwright_onnx::import(&small.model(), &packwright_onnx::ImportOptions::default())
            .unwrap_err();
    let lines = problems
        .0
        .iter()
        .map(|d| format!("{d}\n  {}", d.help.as_deref().unwrap_or("")));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn random_numbers_are_seeded_or_refused() {
    let small = Small::new(17)
        .input("x", DataType::Float, "2,4")
        .node("RandomNormalLike", "x", "y")
        .output("y");
    let with = |random: packwright_onnx::Random| {
        let mut options = packwright_onnx::ImportOptions::default();
        options.binding.random = random;
        packwright_onnx::import(&small.model(), &options)
    };
    let drawn = |seed: u64| {
        let imported = with(packwright_onnx::Random::Seed(seed)).unwrap();
        let warnings: Vec<String> = imported.warnings.iter().map(ToString::to_string).collect();
        (
            packwright_ir::text::print(&imported.graph),
            warnings.join("\n"),
        )
    };
    let default =
        packwright_onnx::import(&small.model(), &packwright_onnx::ImportOptions::default());
    assert_eq!(
        packwright_ir::text::print(&default.unwrap().graph),
        drawn(0).0
    );
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7).0, drawn(8).0);
    insta::assert_snapshot!(drawn(7).1, @"/RandomNormalLike_0: random numbers are drawn from the seed 7 [onnx-random]");
    let refused = with(packwright_onnx::Random::Refuse).unwrap_err();
    insta::assert_snapshot!(refused, @"/RandomNormalLike_0: RandomNormalLike: random numbers are refused [onnx-random-refused]");
}

#[test]
fn results_that_nobody_reads_need_no_rule() {
    let norm = |read: &str| {
        Small::new(17)
            .input("x", DataType::Float, "2,4")
            .weight("g", &count(&[4]))
            .node("LayerNormalization", "x,g", "y,mean,deviation")
            .output(read)
    };
    assert_eq!(norm("y").ops().len(), 1);
    insta::assert_snapshot!(norm("mean").problems(), @"/LayerNormalization_0: LayerNormalization: result 1 is not supported [onnx-op-form]");
}

#[test]
fn functions_of_the_model_are_put_in_place() {
    use packwright_onnx::proto::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};
    let node = |op: &str, domain: &str, input: &[&str], output: &str| NodeProto {
        op_type: Some(op.to_owned()),
        domain: Some(domain.to_owned()),
        input: input.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    };
    let function = |name: &str, nodes: Vec<NodeProto>, opset: i64| FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("mine".to_owned()),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        attribute: vec!["slope".to_owned()],
        node: nodes,
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(opset),
        }],
        ..Default::default()
    };
    let mut leaky = node("LeakyRelu", "", &["a"], "b");
    leaky.attribute = vec![AttributeProto {
        name: Some("alpha".to_owned()),
        ref_attr_name: Some("slope".to_owned()),
        r#type: Some(1),
        ..Default::default()
    }];
    let twice = vec![
        node("Leaky", "mine", &["a"], "t"),
        node("Tanh", "", &["t"], "b"),
    ];
    let model = |functions: Vec<FunctionProto>| {
        let mut small = Small::new(17)
            .input("x", DataType::Float, "2,4")
            .node_with("mine:Outer", "x", "y", vec![float("slope", 0.5)])
            .node("mine:Outer", "y", "z")
            .output("z");
        small.proto.functions = functions;
        small
    };
    let good = model(vec![
        function("Leaky", vec![leaky.clone()], 17),
        function("Outer", twice, 17),
    ]);
    let summary = good.model().summary();
    assert_eq!((summary.functions, summary.nodes), (2, 4));
    assert_eq!(
        good.ops(),
        [
            "Binary(Mul)",
            "Binary(Max)",
            "Unary(Tanh)",
            "Binary(Mul)",
            "Binary(Max)",
            "Unary(Tanh)"
        ]
    );
    let refused = |functions| {
        packwright_onnx::Model::from_bytes(model(functions).bytes(), None)
            .unwrap_err()
            .to_string()
    };
    let endless = function("Outer", vec![node("Outer", "mine", &["a"], "b")], 17);
    insta::assert_snapshot!(refused(vec![endless]), @r#"the function "Outer" calls itself [onnx-function]"#);
    insta::assert_snapshot!(refused(vec![function("Outer", vec![leaky], 13)]), @r#"the function "Outer" is of operator set 13, the model of 17 [onnx-function]"#);
}

#[test]
fn a_known_condition_chooses_the_branch() {
    let branch = |op: &str| {
        let mut small = Small::new(17).node(op, "x", &format!("{op}_result"));
        small = small.output(&format!("{op}_result"));
        small.graph().clone()
    };
    let graph = |name: &str, g| packwright_onnx::proto::AttributeProto {
        name: Some(name.to_owned()),
        g: Some(g),
        ..Default::default()
    };
    let branches = || {
        vec![
            graph("then_branch", branch("Relu")),
            graph("else_branch", branch("Tanh")),
        ]
    };
    let small = Small::new(17)
        .input("x", DataType::Float, "2,4")
        .node("Size", "x", "n")
        .weight("seven", &i64s(&[], &[7]))
        .node("Less", "n,seven", "short")
        .node_with("If", "short", "y", branches())
        .output("y");
    assert_eq!(small.ops(), ["Unary(Tanh)"]);
    let open = Small::new(17)
        .input("x", DataType::Float, "2,4")
        .input("short", DataType::Bool, "")
        .node_with("If", "short", "y", branches())
        .output("y");
    insta::assert_snapshot!(open.problems(), @"/If_0: If: which branch is taken depends on values that are known only at run time [onnx-data-dependent-shape]");
}

#[test]
fn types_of_the_model_are_kept() {
    let half = Tensor::plain(Data::F16(array(&[2], vec![1.5, -2.0])));
    let small = Small::new(17)
        .weight("h", &half)
        .node("Identity", "h", "y")
        .output("y");
    assert_eq!(small.value().1, [1.5, -2.0]);
    assert_eq!(
        small.import().graph.consts()[0].ty.elem,
        packwright_ir::Elem::F16
    );
}

#[test]
fn inputs_can_be_fixed() {
    let small = Small::new(17)
        .input("mask", DataType::Int64, "1,4")
        .node("NonZero", "mask", "y")
        .output("y");
    let mut options = packwright_onnx::ImportOptions::default();
    options
        .fixed
        .insert("mask".to_owned(), i64s(&[1, 4], &[0, 1, 0, 1]));
    let graph = packwright_onnx::import(&small.model(), &options)
        .unwrap()
        .graph;
    assert_eq!(graph.inputs().len(), 0);
    assert_eq!(graph.ty(graph.outputs()[0].value).shape, [2, 2]);

    let mut by_rule = packwright_onnx::ImportOptions::default();
    let first = packwright_onnx::Given::First;
    by_rule.binding.consts.insert("mask".to_owned(), first);
    let graph = packwright_onnx::import(&small.model(), &by_rule)
        .unwrap()
        .graph;
    assert_eq!(graph.ty(graph.outputs()[0].value).shape, [2, 1]);

    options
        .fixed
        .insert("mask".to_owned(), i64s(&[4], &[0, 1, 0, 1]));
    let error = packwright_onnx::import(&small.model(), &options).unwrap_err();
    insta::assert_snapshot!(error, @r#""mask" is i64[1,4] and is fixed to i64[4] [onnx-fixed-input]"#);
}

#[test]
fn the_page_of_operators() {
    insta::assert_snapshot!(registry::supported_ops_md());
}

//! Lengths of axes: by name, by role, by expression, and every way to get them wrong.

use packwright_onnx::Binding;
use packwright_onnx::bind::bind;
use packwright_onnx::proto::tensor_proto::DataType;

use crate::small::Small;

fn decoder() -> Small {
    Small::new(17)
        .input("input_ids", DataType::Int64, "batch_size,sequence_length")
        .input(
            "attention_mask",
            DataType::Int64,
            "batch_size,past_sequence_length + sequence_length",
        )
        .input(
            "past_key_values.0.key",
            DataType::Float,
            "batch_size,2,past_sequence_length,64",
        )
}

fn dynamo() -> Small {
    Small::new(18)
        .input("input_ids", DataType::Int64, "s77,1")
        .input("encoder_attention_mask", DataType::Int64, "s77,s17")
        .input(
            "past_key_values.0.decoder.key",
            DataType::Float,
            "s77,8,s15,64",
        )
        .input(
            "past_key_values.0.encoder.key",
            DataType::Float,
            "s77,8,s17,64",
        )
}

fn shapes(small: &Small, binding: Binding) -> Vec<Vec<usize>> {
    bind(&small.model(), &binding)
        .unwrap_or_else(|e| panic!("{e}"))
        .shapes
}

fn problem(small: &Small, binding: Binding) -> String {
    bind(&small.model(), &binding).unwrap_err().to_string()
}

fn named(pairs: &[(&str, u64)]) -> Binding {
    let names = pairs.iter().map(|(n, l)| ((*n).to_owned(), *l)).collect();
    Binding {
        names,
        ..Binding::default()
    }
}

#[test]
fn by_name_and_expression() {
    let binding = named(&[("sequence_length", 1), ("past_sequence_length", 7)]);
    assert_eq!(
        shapes(&decoder(), binding),
        [vec![1, 1], vec![1, 8], vec![1, 2, 7, 64]]
    );
}

#[test]
fn by_role_whatever_the_name() {
    let binding = Binding {
        seq: Some(1),
        past: Some(5),
        encoder: Some(9),
        ..Binding::default()
    };
    assert_eq!(
        shapes(&dynamo(), binding),
        [vec![1, 1], vec![1, 9], vec![1, 8, 5, 64], vec![1, 8, 9, 64]]
    );
}

#[test]
fn a_whole_length_without_expression_is_past_and_new() {
    let small = Small::new(17)
        .input("input_ids", DataType::Int64, "b,s")
        .input("attention_mask", DataType::Int64, "b,total")
        .input("past_key_values.0.key", DataType::Float, "b,2,p,64");
    let binding = Binding {
        seq: Some(1),
        past: Some(5),
        batch: Some(3),
        ..Binding::default()
    };
    assert_eq!(
        shapes(&small, binding),
        [vec![3, 1], vec![3, 6], vec![3, 2, 5, 64]]
    );
}

#[test]
fn the_table_keeps_the_order_of_the_model() {
    let binding = named(&[("past_sequence_length", 7), ("sequence_length", 1)]);
    let bound = bind(&decoder().model(), &binding).unwrap();
    let axes: Vec<(&str, u64)> = bound.axes.iter().map(|(n, l)| (n.as_str(), *l)).collect();
    assert_eq!(
        axes,
        [
            ("batch_size", 1),
            ("sequence_length", 1),
            ("past_sequence_length", 7)
        ]
    );
}

#[test]
fn open_axes_are_listed_together() {
    insta::assert_snapshot!(problem(&decoder(), Binding::default()), @"axes without a length: `sequence_length` (in input_ids, attention_mask); `past_sequence_length` (in attention_mask, past_key_values.0.key) [axis-unbound]");
}

#[test]
fn an_unknown_name_shows_the_known_ones() {
    insta::assert_snapshot!(problem(&dynamo(), named(&[("seq", 4)])), @r#"there is no axis "seq": the model has `s77` (in input_ids, encoder_attention_mask, past_key_values.0.decoder.key, past_key_values.0.encoder.key); `s17` (in encoder_attention_mask, past_key_values.0.encoder.key); `s15` (in past_key_values.0.decoder.key) [axis-unknown]"#);
}

#[test]
fn zero_and_contradictions() {
    let two = Binding {
        seq: Some(4),
        ..named(&[("sequence_length", 8), ("batch_size", 0)])
    };
    insta::assert_snapshot!(problem(&decoder(), two), @r#"
    "batch_size" cannot be 0 [axis-zero]
    `sequence_length` is bound to 8 by name and to 4 by "seq" [axis-conflict]
    "#);
    let fixed = Binding {
        seq: Some(4),
        past: Some(1),
        encoder: Some(1),
        ..Binding::default()
    };
    insta::assert_snapshot!(problem(&dynamo(), fixed), @r#""seq" is 4, and the model fixes axis 1 of input_ids to 1 [axis-conflict]"#);
    let none = Binding {
        past: Some(4),
        ..Binding::default()
    };
    let encoder = Small::new(17).input("input_ids", DataType::Int64, "1,128");
    insta::assert_snapshot!(problem(&encoder, none), @r#"there is no axis "past": all axes of the model are fixed [axis-unknown]"#);
}

#[test]
fn every_wrong_binding_names_the_axes_that_there_are() {
    let wrong = [
        named(&[("nonsense", 4)]),
        named(&[("sequence_length", 0)]),
        Binding {
            seq: Some(4),
            ..named(&[("sequence_length", 8)])
        },
    ];
    for binding in wrong {
        let problems = bind(&decoder().model(), &binding).unwrap_err();
        let said = format!(
            "{} {}",
            problems.0[0].message,
            problems.0[0].help.clone().unwrap_or_default()
        );
        for axis in ["batch_size", "sequence_length", "past_sequence_length"] {
            assert!(said.contains(&format!("`{axis}`")), "{axis}: {said}");
        }
    }
    let fixed = Binding {
        seq: Some(4),
        ..Binding::default()
    };
    let problems = bind(&dynamo().model(), &fixed).unwrap_err();
    let help = problems.0[0].help.clone().unwrap_or_default();
    assert!(problems.0[0].message.contains("axis 1 of input_ids"));
    assert!(help.contains("`s77`") && help.contains("`s15`"), "{help}");
}

#[test]
fn nothing_may_be_cached_yet() {
    let empty = Binding {
        seq: Some(1),
        past: Some(0),
        ..Binding::default()
    };
    let found = shapes(&decoder(), empty);
    assert_eq!(found, [vec![1, 1], vec![1, 1], vec![1, 2, 0, 64]]);
}

#[test]
fn axes_without_names_get_one() {
    let mut small = Small::new(17).input("x", DataType::Float, "3,4");
    let proto = &mut small.graph().input[0];
    let Some(packwright_onnx::proto::type_proto::Value::TensorType(tensor)) =
        proto.r#type.as_mut().and_then(|t| t.value.as_mut())
    else {
        panic!("a tensor")
    };
    tensor.shape.as_mut().unwrap().dim[1].value = None;
    assert_eq!(shapes(&small, named(&[("x_axis_1", 6)])), [vec![3, 6]]);
}

#[test]
fn products_and_differences_are_solved() {
    let small = Small::new(17)
        .input("input_ids", DataType::Int64, "b,s")
        .input("x", DataType::Float, "2*s,s - 1,b*3 + s");
    let binding = Binding {
        seq: Some(5),
        ..Binding::default()
    };
    assert_eq!(shapes(&small, binding), [vec![1, 5], vec![10, 4, 8]]);
}

//! Small ONNX files, made in place.

use packwright::onnx::proto::tensor_proto::{DataLocation, DataType};
use packwright::onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use prost::Message;

/// `y = x · w` with `x : f32[batch,16]` and `w : f32[16,32]`, by an operator of a name.
pub fn product(operator: &str) -> ModelProto {
    let values: Vec<u8> = (0..16 * 32u32)
        .flat_map(|i| (i as f32 / 512.0 - 0.5).to_le_bytes())
        .collect();
    let weight = TensorProto {
        name: Some("w".into()),
        dims: vec![16, 32],
        data_type: Some(DataType::Float as i32),
        raw_data: Some(values.into()),
        ..Default::default()
    };
    let node = NodeProto {
        name: Some("/fc/MatMul".into()),
        op_type: Some(operator.into()),
        input: vec!["x".into(), "w".into()],
        output: vec!["y".into()],
        ..Default::default()
    };
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("test".into()),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(17),
        }],
        graph: Some(GraphProto {
            name: Some("product".into()),
            node: vec![node],
            initializer: vec![weight],
            input: vec![port("x", &[Err("batch_size"), Ok(16)])],
            output: vec![port("y", &[Err("batch_size"), Ok(32)])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The same with a number of operators behind it that nobody knows, one behind the other.
pub fn chain(count: usize) -> ModelProto {
    let mut model = product("MatMul");
    let graph = model.graph.as_mut().expect("has a graph");
    let mut last = "y".to_owned();
    for i in 0..count {
        let next = format!("y{i}");
        graph.node.push(NodeProto {
            name: Some(format!("/layer.{i}/Magic")),
            op_type: Some(format!("Magic{i}")),
            input: vec![last],
            output: vec![next.clone()],
            ..Default::default()
        });
        last = next;
    }
    graph.output = vec![port(&last, &[Err("batch_size"), Ok(32)])];
    model
}

/// The same with rows whose number nothing names.
pub fn unbound() -> ModelProto {
    let mut model = product("MatMul");
    let graph = model.graph.as_mut().expect("has a graph");
    graph.input = vec![port("x", &[Err("rows"), Ok(16)])];
    graph.output = vec![port("y", &[Err("rows"), Ok(32)])];
    model
}

/// The same with its weights in a file outside the model's folder.
pub fn outside() -> ModelProto {
    let mut model = product("MatMul");
    let weight = &mut model.graph.as_mut().expect("has a graph").initializer[0];
    weight.raw_data = None;
    weight.data_location = Some(DataLocation::External as i32);
    weight.external_data = vec![StringStringEntryProto {
        key: Some("location".into()),
        value: Some("../secrets.bin".into()),
    }];
    model
}

/// The bytes of the file.
pub fn bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

fn port(name: &str, axes: &[Result<i64, &str>]) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value;
    let dim = |axis: &Result<i64, &str>| tensor_shape_proto::Dimension {
        value: Some(match axis {
            Ok(length) => Value::DimValue(*length),
            Err(name) => Value::DimParam((*name).to_owned()),
        }),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(DataType::Float as i32),
        shape: Some(TensorShapeProto {
            dim: axes.iter().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

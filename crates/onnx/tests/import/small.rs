//! Small models, made in place.

use bytes::Bytes;
use packwright_ir::tensor::Tensor;
use packwright_ir::{Elem, Op, order};
use packwright_onnx::proto::attribute_proto::AttributeType;
use packwright_onnx::proto::tensor_proto::DataType;
use packwright_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use packwright_onnx::{ImportOptions, Imported, Model, values};
use prost::Message;

/// A model under construction.
pub struct Small {
    pub proto: ModelProto,
}

impl Small {
    pub fn new(opset: i64) -> Self {
        let import = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        Self {
            proto: ModelProto {
                ir_version: Some(8),
                opset_import: vec![import("", opset), import("com.microsoft", 1)],
                graph: Some(GraphProto {
                    name: Some("small".to_owned()),
                    ..Default::default()
                }),
                ..Default::default()
            },
        }
    }

    pub fn graph(&mut self) -> &mut GraphProto {
        self.proto.graph.as_mut().expect("made in new")
    }

    /// Axes are numbers or names, separated by commas.
    pub fn input(mut self, name: &str, ty: DataType, axes: &str) -> Self {
        let info = info(name, ty, axes);
        self.graph().input.push(info);
        self
    }

    pub fn output(mut self, name: &str) -> Self {
        let info = ValueInfoProto {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        self.graph().output.push(info);
        self
    }

    pub fn weight(mut self, name: &str, tensor: &Tensor) -> Self {
        let tensor = stored(name, tensor);
        self.graph().initializer.push(tensor);
        self
    }

    pub fn node(self, op: &str, inputs: &str, outputs: &str) -> Self {
        self.node_with(op, inputs, outputs, vec![])
    }

    /// Operands and results are separated by commas.
    pub fn node_with(
        mut self,
        op: &str,
        inputs: &str,
        outputs: &str,
        attribute: Vec<AttributeProto>,
    ) -> Self {
        let split = |list: &str| match list {
            "" => vec![],
            _ => list.split(',').map(|s| s.trim().to_owned()).collect(),
        };
        let (domain, op) = op.split_once(':').unwrap_or(("", op));
        let node = NodeProto {
            op_type: Some(op.to_owned()),
            domain: Some(domain.to_owned()),
            name: Some(format!("/{op}_{}", self.graph().node.len())),
            input: split(inputs),
            output: split(outputs),
            attribute,
            ..Default::default()
        };
        self.graph().node.push(node);
        self
    }

    pub fn bytes(&self) -> Bytes {
        Bytes::from(self.proto.encode_to_vec())
    }

    pub fn model(&self) -> Model {
        Model::from_bytes(self.bytes(), None).unwrap()
    }

    pub fn import(&self) -> Imported {
        packwright_onnx::import(&self.model(), &ImportOptions::default())
            .unwrap_or_else(|e| panic!("{e}"))
    }

    /// What stands in the way of an import.
    pub fn problems(&self) -> String {
        packwright_onnx::import(&self.model(), &ImportOptions::default())
            .unwrap_err()
            .to_string()
    }

    /// The operators of the graph in order, constants left out.
    pub fn ops(&self) -> Vec<String> {
        let graph = self.import().graph;
        let nodes = order::topological(&graph).into_iter();
        let nodes = nodes.filter(|n| !matches!(graph.op(*n), Op::Input { .. }));
        nodes.map(|n| format!("{:?}", graph.op(n))).collect()
    }

    /// The values of the first output, which must be constant.
    pub fn value(&self) -> (Vec<usize>, Vec<f64>) {
        let graph = self.import().graph;
        let output = graph.outputs()[0].value;
        let konst = graph.konst(graph.as_const(output).expect("the output is folded"));
        let packwright_ir::konst::Source::Bytes(bytes) = &konst.source else {
            panic!("no values")
        };
        let tensor = Tensor::from_le_bytes(&konst.ty, bytes).unwrap();
        (tensor.shape().to_vec(), values::floats(&tensor))
    }
}

pub fn info(name: &str, ty: DataType, axes: &str) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value;
    let axes = axes.split(',').map(str::trim).filter(|a| !a.is_empty());
    let dim = axes.map(|axis| tensor_shape_proto::Dimension {
        value: Some(match axis.parse() {
            Ok(n) => Value::DimValue(n),
            Err(_) => Value::DimParam(axis.to_owned()),
        }),
        ..Default::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: Some(ty as i32),
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn stored(name: &str, tensor: &Tensor) -> TensorProto {
    let data_type = match tensor.elem() {
        Elem::Bool => DataType::Bool,
        Elem::I4 => DataType::Int4,
        Elem::I8 => DataType::Int8,
        Elem::U8 => DataType::Uint8,
        Elem::I32 => DataType::Int32,
        Elem::I64 => DataType::Int64,
        Elem::F16 => DataType::Float16,
        Elem::F32 => DataType::Float,
        Elem::F64 => DataType::Double,
    };
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type as i32),
        dims: tensor.shape().iter().map(|&n| n as i64).collect(),
        raw_data: Some(tensor.to_le_bytes().into()),
        ..Default::default()
    }
}

fn attribute(name: &str, ty: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(ty as i32),
        ..Default::default()
    }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        i: Some(i),
        ..attribute(name, AttributeType::Int)
    }
}

pub fn ints(name: &str, list: &[i64]) -> AttributeProto {
    AttributeProto {
        ints: list.to_vec(),
        ..attribute(name, AttributeType::Ints)
    }
}

pub fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        f: Some(f),
        ..attribute(name, AttributeType::Float)
    }
}

pub fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        s: Some(Bytes::copy_from_slice(s.as_bytes())),
        ..attribute(name, AttributeType::String)
    }
}

/// 0, 1, 2, … in a shape.
pub fn count(shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::f32(shape, (0..n).map(|i| i as f32).collect())
}

//! A model file in memory: decoded, its versions checked, its weights still in the file.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;
use packwright_ir::Elem;
use packwright_ir::diag::Diagnostics;
use prost::Message;

use crate::axis::{self, Axis, Dim};
use crate::codes;
use crate::functions;
use crate::map::map;
use crate::proto::{GraphProto, ModelProto, ValueInfoProto, tensor_shape_proto, type_proto};
use crate::values;

/// Versions of the file format that are read.
const IR_VERSIONS: std::ops::RangeInclusive<i64> = 3..=13;
/// Versions of the default operator set that are read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 11..=23;

/// A decoded model.
#[derive(Clone, Debug)]
pub struct Model {
    proto: ModelProto,
    /// Functions that the file defines; their calls are replaced by their nodes.
    functions: usize,
    folder: Option<PathBuf>,
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    /// Element type; `None` where the graph has none for it.
    pub elem: Option<Elem>,
    /// Axes; `None` where the model does not say.
    pub dims: Option<Vec<Dim>>,
}

/// What a model is, in a few figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub name: String,
    pub producer: String,
    pub ir_version: i64,
    /// Operator sets by domain.
    pub opsets: Vec<(String, i64)>,
    /// Functions that the file defines; their nodes stand among the others.
    pub functions: usize,
    pub nodes: usize,
    /// Nodes by operator, with the domain where it is not the default; in alphabetical order.
    pub ops: Vec<(String, usize)>,
    pub initializers: usize,
    /// Initializers whose values lie in other files.
    pub external: usize,
}

impl Model {
    /// Decodes a model. External data is looked for in the folder; without one it is absent.
    ///
    /// # Errors
    /// What makes the bytes no readable model.
    pub fn from_bytes(bytes: Bytes, folder: Option<&Path>) -> Result<Self, Diagnostics> {
        match scan(&bytes) {
            Scan::Whole => {}
            Scan::Empty => return Err(codes::empty().into()),
            Scan::Truncated => return Err(codes::truncated(bytes.len()).into()),
            Scan::Foreign => return Err(codes::not_onnx(&bytes).into()),
        }
        let mut proto = ModelProto::decode(bytes).map_err(|e| codes::damaged(&e.to_string()))?;
        check(&proto)?;
        let functions = proto.functions.len();
        functions::inline(&mut proto)?;
        Ok(Self {
            proto,
            functions,
            folder: folder.map(Path::to_path_buf),
        })
    }

    /// Maps and decodes a model file; its external data lies in the same folder.
    ///
    /// # Errors
    /// What makes the file no readable model.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Diagnostics> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let bytes = map(path).map_err(|e| codes::unreadable(&place, &e))?;
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self::from_bytes(bytes, Some(folder)).map_err(|mut all| {
            for diagnostic in &mut all.0 {
                diagnostic.place.get_or_insert_with(|| place.clone());
            }
            all
        })
    }

    /// The messages of the file.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// The main graph.
    pub fn graph(&self) -> &GraphProto {
        self.proto
            .graph
            .as_ref()
            .expect("a model without a graph is refused when it is decoded")
    }

    /// Where external data is looked for.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Version of an operator set; the default one has the empty domain.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let default = |d: &str| d.is_empty() || d == "ai.onnx";
        self.proto
            .opset_import
            .iter()
            .find(|o| o.domain() == domain || (default(o.domain()) && default(domain)))
            .map(|o| o.version())
    }

    /// The inputs: what is fed, not what is stored.
    pub fn inputs(&self) -> Vec<Port> {
        let stored: IndexMap<&str, ()> = self
            .graph()
            .initializer
            .iter()
            .map(|t| (t.name(), ()))
            .collect();
        let fed = self
            .graph()
            .input
            .iter()
            .filter(|v| !stored.contains_key(v.name()));
        fed.map(port).collect()
    }

    /// The outputs.
    pub fn outputs(&self) -> Vec<Port> {
        self.graph().output.iter().map(port).collect()
    }

    /// The named axes of the inputs, in order of appearance.
    pub fn axes(&self) -> Vec<Axis> {
        axis::axes(&self.inputs())
    }

    /// Text that the exporter left under a key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.proto
            .metadata_props
            .iter()
            .find(|p| p.key() == key)
            .map(|p| p.value())
    }

    /// What the model is, in a few figures.
    pub fn summary(&self) -> Summary {
        let graph = self.graph();
        let mut ops: IndexMap<String, usize> = IndexMap::new();
        for node in &graph.node {
            let name = match node.domain() {
                "" | "ai.onnx" => node.op_type().to_owned(),
                domain => format!("{domain}.{}", node.op_type()),
            };
            *ops.entry(name).or_default() += 1;
        }
        ops.sort_unstable_keys();
        Summary {
            name: graph.name().to_owned(),
            producer: format!(
                "{} {}",
                self.proto.producer_name(),
                self.proto.producer_version()
            )
            .trim()
            .to_owned(),
            ir_version: self.proto.ir_version(),
            opsets: (self.proto.opset_import.iter())
                .map(|o| (o.domain().to_owned(), o.version()))
                .collect(),
            functions: self.functions,
            nodes: graph.node.len(),
            ops: ops.into_iter().collect(),
            initializers: graph.initializer.len(),
            external: graph
                .initializer
                .iter()
                .filter(|t| crate::external::is_external(t))
                .count(),
        }
    }
}

fn check(proto: &ModelProto) -> Result<(), Diagnostics> {
    let mut all = Vec::new();
    let Some(graph) = &proto.graph else {
        return Err(codes::no_graph().into());
    };
    if !IR_VERSIONS.contains(&proto.ir_version()) {
        all.push(codes::ir_version(proto.ir_version(), &IR_VERSIONS));
    }
    let opset = proto
        .opset_import
        .iter()
        .find(|o| matches!(o.domain(), "" | "ai.onnx"));
    match opset {
        None => all.push(codes::no_opset()),
        Some(o) if !OPSETS.contains(&o.version()) => all.push(codes::opset(o.version(), &OPSETS)),
        Some(_) => {}
    }
    if !graph.sparse_initializer.is_empty() {
        all.push(codes::sparse(graph.sparse_initializer.len()));
    }
    if all.is_empty() {
        Ok(())
    } else {
        Err(Diagnostics(all))
    }
}

fn port(info: &ValueInfoProto) -> Port {
    use tensor_shape_proto::dimension::Value;
    let tensor = match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let dims = tensor.and_then(|t| t.shape.as_ref()).map(|shape| {
        let named = |i: usize| Dim::Named(format!("{}_axis_{i}", info.name()));
        (shape.dim.iter().enumerate())
            .map(|(i, dim)| match &dim.value {
                Some(Value::DimValue(n)) => u64::try_from(*n).map_or_else(|_| named(i), Dim::Fixed),
                Some(Value::DimParam(text)) if !text.trim().is_empty() => axis::parse_dim(text),
                // An axis without a name gets one, so that it can be bound.
                Some(Value::DimParam(_)) | None => named(i),
            })
            .collect()
    });
    Port {
        name: info.name().to_owned(),
        elem: tensor.and_then(|t| values::elem(t.elem_type())),
        dims,
    }
}

enum Scan {
    Whole,
    Empty,
    Truncated,
    Foreign,
}

/// Walks over the outermost fields: tells a file that ends early from one that never was a model.
fn scan(bytes: &[u8]) -> Scan {
    if bytes.is_empty() {
        return Scan::Empty;
    }
    let mut rest = bytes;
    let mut fields = 0usize;
    let short = |fields: usize| {
        if fields > 0 {
            Scan::Truncated
        } else {
            Scan::Foreign
        }
    };
    while !rest.is_empty() {
        let Some(tag) = varint(&mut rest) else {
            return short(fields);
        };
        // Field numbers of ModelProto and how each is written.
        let text = matches!(tag >> 3, 2 | 3 | 4 | 6 | 7 | 8 | 14 | 20 | 25 | 26);
        let number = matches!(tag >> 3, 1 | 5);
        match tag & 7 {
            0 if number => {
                if varint(&mut rest).is_none() {
                    return short(fields);
                }
            }
            2 if text => {
                let Some(length) = varint(&mut rest) else {
                    return short(fields);
                };
                let Ok(length) = usize::try_from(length) else {
                    return Scan::Foreign;
                };
                match rest.split_at_checked(length) {
                    Some((_, tail)) => rest = tail,
                    None => return short(fields),
                }
            }
            _ => return Scan::Foreign,
        }
        fields += 1;
    }
    Scan::Whole
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..10 {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f).checked_shl(7 * i).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

//! Attributes of a node by name and type.

use packwright_ir::diag::Diagnostic;

use crate::codes;
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, NodeProto, TensorProto};

/// Access to the attributes of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attrs<'m>(pub(crate) &'m NodeProto);

impl<'m> Attrs<'m> {
    /// An integer, or its default.
    pub(crate) fn int(&self, name: &str, default: i64) -> Result<i64, Diagnostic> {
        Ok(self.opt_int(name)?.unwrap_or(default))
    }

    /// An integer, if it is there.
    pub(crate) fn opt_int(&self, name: &str) -> Result<Option<i64>, Diagnostic> {
        Ok(self.find(name, AttributeType::Int)?.map(AttributeProto::i))
    }

    /// A flag: an integer that is not zero.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Diagnostic> {
        Ok(self.opt_int(name)?.map_or(default, |i| i != 0))
    }

    /// A number, or its default.
    pub(crate) fn float(&self, name: &str, default: f32) -> Result<f32, Diagnostic> {
        Ok(self
            .find(name, AttributeType::Float)?
            .map_or(default, AttributeProto::f))
    }

    /// A number, if it is there.
    pub(crate) fn opt_float(&self, name: &str) -> Result<Option<f32>, Diagnostic> {
        Ok(self
            .find(name, AttributeType::Float)?
            .map(AttributeProto::f))
    }

    /// A number of things, at least one.
    pub(crate) fn count(&self, name: &str) -> Result<usize, Diagnostic> {
        match self.opt_int(name)? {
            None => Err(codes::attribute(name, "is missing")),
            Some(n) => usize::try_from(n)
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| codes::attribute(name, format!("is {n}"))),
        }
    }

    /// Integers, if they are there.
    pub(crate) fn ints(&self, name: &str) -> Result<Option<&'m [i64]>, Diagnostic> {
        Ok(self
            .find(name, AttributeType::Ints)?
            .map(|a| a.ints.as_slice()))
    }

    /// Numbers, if they are there.
    pub(crate) fn floats(&self, name: &str) -> Result<Option<&'m [f32]>, Diagnostic> {
        Ok(self
            .find(name, AttributeType::Floats)?
            .map(|a| a.floats.as_slice()))
    }

    /// Text, if it is there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'m str>, Diagnostic> {
        let Some(attr) = self.find(name, AttributeType::String)? else {
            return Ok(None);
        };
        let bytes: &'m [u8] = attr.s.as_deref().unwrap_or_default();
        std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| codes::attribute(name, "is not UTF-8"))
    }

    /// A tensor, if it is there.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<&'m TensorProto>, Diagnostic> {
        let Some(attr) = self.find(name, AttributeType::Tensor)? else {
            return Ok(None);
        };
        attr.t
            .as_ref()
            .map(Some)
            .ok_or_else(|| codes::attribute(name, "holds no tensor"))
    }

    fn find(
        &self,
        name: &str,
        ty: AttributeType,
    ) -> Result<Option<&'m AttributeProto>, Diagnostic> {
        let Some(attr) = self.0.attribute.iter().find(|a| a.name() == name) else {
            return Ok(None);
        };
        // Files older than the type field leave it out.
        if attr.r#type() != ty && attr.r#type() != AttributeType::Undefined {
            return Err(codes::attribute(
                name,
                format!("should be {}", ty.as_str_name()),
            ));
        }
        Ok(Some(attr))
    }
}

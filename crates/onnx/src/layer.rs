//! Which layer a node belongs to, from the names that exporters leave.
//!
//! TorchScript names nodes by module path (`/encoder/layer.3/attention/self/MatMul`). Other exporters
//! keep paths only in the names of weights; their nodes belong to the layer of the last weight read.

use std::collections::{BTreeSet, HashMap};

use crate::load::Model;
use crate::proto::NodeProto;

/// The layer of each node of the main graph, in order.
pub(crate) fn layers(model: &Model) -> Vec<String> {
    let nodes = &model.graph().node;
    let scopes: Vec<Vec<&str>> = nodes.iter().map(|n| scope(n.name())).collect();
    if scopes.iter().any(|s| !s.is_empty()) {
        by_scope(&scopes)
    } else {
        by_weights(model, nodes)
    }
}

/// The modules around a node: `/a/b.0/MatMul` is in `a` and `b.0`.
fn scope(name: &str) -> Vec<&str> {
    match name.strip_prefix('/') {
        Some(path) => {
            let mut parts: Vec<&str> = path.split('/').collect();
            parts.pop();
            parts
        }
        None => Vec::new(),
    }
}

fn by_scope(scopes: &[Vec<&str>]) -> Vec<String> {
    let skip = usize::from(has_wrapper(scopes));
    let prefixes: Vec<String> = scopes
        .iter()
        .map(|s| prefix(s.get(skip..).unwrap_or_default()))
        .collect();
    // One numbered module that is called again and again: the calls are the layers.
    let numbered: BTreeSet<&str> = prefixes
        .iter()
        .map(String::as_str)
        .filter(|p| ends_in_number(p))
        .collect();
    let shared = numbered.len() == 1;
    let mut layers = Vec::with_capacity(prefixes.len());
    for (prefix, scope) in prefixes.into_iter().zip(scopes) {
        if shared && ends_in_number(&prefix) {
            let call = scope.last().map_or(0, |module| call_number(module));
            layers.push(format!("{prefix}:{call}"));
        } else {
            layers.push(prefix);
        }
    }
    layers
}

/// Whether all nodes lie in one module without a number: a wrapper for the export.
fn has_wrapper(scopes: &[Vec<&str>]) -> bool {
    let mut first = scopes.iter().filter_map(|s| s.first());
    match first.next() {
        Some(name) => {
            !ends_in_number(name)
                && first.all(|other| other == name)
                && scopes.iter().any(|s| s.len() > 1)
        }
        None => false,
    }
}

/// Modules up to the first numbered one, or the first module.
fn prefix(scope: &[&str]) -> String {
    match scope.iter().position(|module| ends_in_number(module)) {
        Some(at) => scope[..=at].join("."),
        None => scope.first().map_or_else(String::new, |s| (*s).to_owned()),
    }
}

fn ends_in_number(module: &str) -> bool {
    let without_call = module
        .rsplit_once('_')
        .filter(|(_, n)| is_number(n))
        .map_or(module, |(m, _)| m);
    without_call
        .rsplit_once('.')
        .is_some_and(|(_, n)| is_number(n))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Which call of a module this is: `attention_3` is the fourth.
fn call_number(module: &str) -> usize {
    module
        .rsplit_once('_')
        .and_then(|(_, n)| n.parse().ok())
        .unwrap_or(0)
}

fn by_weights(model: &Model, nodes: &[NodeProto]) -> Vec<String> {
    let sources: HashMap<String, String> = model
        .metadata("weights.source")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut weights: HashMap<&str, String> = HashMap::new();
    for tensor in &model.graph().initializer {
        let path = sources
            .get(tensor.name())
            .map_or(tensor.name(), String::as_str);
        let modules = path_modules(path);
        if modules.len() > 1 {
            let parts: Vec<&str> = modules.iter().map(String::as_str).collect();
            weights.insert(tensor.name(), prefix(&parts[..parts.len() - 1]));
        }
    }
    let mut current = String::new();
    let mut layers = Vec::with_capacity(nodes.len());
    for node in nodes {
        if let Some(layer) = node
            .input
            .iter()
            .find_map(|name| weights.get(name.as_str()))
        {
            current.clone_from(layer);
        }
        layers.push(current.clone());
    }
    layers
}

/// `encoder.layer.3.output.weight` as `encoder`, `layer.3`, `output`, `weight`.
fn path_modules(path: &str) -> Vec<String> {
    let mut modules: Vec<String> = Vec::new();
    for part in path.split('.') {
        match modules.last_mut() {
            Some(last) if is_number(part) => {
                last.push('.');
                last.push_str(part);
            }
            _ => modules.push(part.to_owned()),
        }
    }
    modules
}

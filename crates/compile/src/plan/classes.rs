//! Classes: segments that do the same to data of the same shape are planned once.
//!
//! The layers of a model are alike, so whatever is decided for one of them is decided for all. Two
//! segments are of one class when their stages carry out the same operators on the same types, and when
//! what they make is read at the same distance.

use indexmap::IndexMap;
use packwright_ir::{Graph, Value};

use super::Segment;
use super::demand::Use;
use super::storage::{RootId, Storage};

/// Which segments and which roots are alike.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    /// Class of each segment.
    class: Vec<usize>,
    members: Vec<Vec<usize>>,
    /// Roots that are made in the same place of alike segments.
    families: Vec<Vec<RootId>>,
}

impl Classes {
    /// Finds what is alike.
    pub fn of(
        graph: &Graph,
        storage: &Storage,
        segments: &[Segment],
        uses: &IndexMap<RootId, Use>,
    ) -> Self {
        let mut classes = Self::default();
        let mut known: IndexMap<String, usize> = IndexMap::new();
        for (s, segment) in segments.iter().enumerate() {
            let signature = signature(graph, storage, s, segment, uses);
            let class = *known.entry(signature).or_insert(classes.members.len());
            if class == classes.members.len() {
                classes.members.push(Vec::new());
            }
            classes.members[class].push(s);
            classes.class.push(class);
        }
        let mut families: IndexMap<(usize, usize, usize), usize> = IndexMap::new();
        for (&root, using) in uses {
            let (s, i) = using.made;
            let node = storage.root(root).value.node;
            let nodes = segments[s].stages[i].nodes();
            let position = nodes.iter().position(|&n| n == node).unwrap_or(0);
            let key = (classes.class[s], i, position);
            let family = *families.entry(key).or_insert(classes.families.len());
            if family == classes.families.len() {
                classes.families.push(Vec::new());
            }
            classes.families[family].push(root);
        }
        classes
    }

    /// How many classes there are.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// The class of a segment.
    pub fn class(&self, segment: usize) -> usize {
        self.class[segment]
    }

    /// The segments of a class.
    pub fn members(&self, class: usize) -> &[usize] {
        &self.members[class]
    }

    /// Roots that are made in the same place of alike segments.
    pub fn families(&self) -> &[Vec<RootId>] {
        &self.families
    }
}

fn signature(
    graph: &Graph,
    storage: &Storage,
    s: usize,
    segment: &Segment,
    uses: &IndexMap<RootId, Use>,
) -> String {
    let mut text = format!("{}", segment.rows);
    for stage in &segment.stages {
        for node in stage.nodes() {
            // Some columns of a wider value ask for other buffers than a value of their own.
            let seen = |&value: &Value| {
                let place = storage.place(value);
                let cut = place.map(|place| (place.col, storage.root(place.root).cols));
                format!("{} {cut:?}", graph.ty(value))
            };
            let types: Vec<String> = graph.operands(node).iter().map(seen).collect();
            text.push_str(&format!(
                "\n{:?} {types:?} {:?}",
                graph.op(node),
                graph.types(node)
            ));
            let Some(using) = storage.root_of(node).and_then(|root| uses.get(&root)) else {
                continue;
            };
            text.push_str(if using.output { " output" } else { "" });
            for &(reader, stage) in &using.read {
                text.push_str(&format!(" {}:{stage}", reader as i64 - s as i64));
            }
        }
    }
    text
}

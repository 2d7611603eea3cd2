//! A case of a graph pass: a text file, the pass that its folder names, and what comes out.

use std::fs;
use std::path::{Path, PathBuf};

use packwright_compile::pipeline;
use packwright_ir::eval::{self, compare};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Graph, Op, Type, text};

/// Inputs that before and after are compared on.
const SEEDS: u64 = 3;

/// A text file with a graph.
#[derive(Clone, Debug)]
pub struct Case {
    pub path: PathBuf,
    pub pass: String,
    pub name: String,
    pub text: String,
}

/// The cases under `tests/files/graph`, in order.
pub fn graph_cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("files/graph");
    let mut cases = Vec::new();
    for folder in sorted(&root) {
        for path in sorted(&folder) {
            if path
                .extension()
                .is_none_or(|extension| extension != "graph")
            {
                continue;
            }
            let part = |path: &Path| {
                path.file_stem()
                    .map_or_else(String::new, |s| s.to_string_lossy().into_owned())
            };
            let text = fs::read_to_string(&path).unwrap_or_default();
            cases.push(Case {
                pass: part(&folder),
                name: part(&path),
                text,
                path,
            });
        }
    }
    cases
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

impl Case {
    /// The graph before the pass.
    ///
    /// # Panics
    /// When the text is no graph; the complaints stand under their lines.
    pub fn before(&self) -> Graph {
        text::parse(&self.text).unwrap_or_else(|errors| {
            panic!(
                "{}:\n{}",
                self.path.display(),
                text::annotate(&self.text, &errors)
            )
        })
    }

    /// The graph behind the pass.
    ///
    /// # Panics
    /// When the pass fails.
    pub fn after(&self) -> Graph {
        let mut graph = self.before();
        pipeline::run_pass(&self.pass, &mut graph)
            .unwrap_or_else(|problems| panic!("{}: {problems}", self.path.display()));
        graph
    }
}

/// The largest difference of two graphs' results, relative to their largest magnitude, over random
/// inputs.
///
/// # Panics
/// When a graph cannot be evaluated, or they have other results.
pub fn difference(before: &Graph, after: &Graph) -> f64 {
    let mut worst: f64 = 0.0;
    for seed in 0..SEEDS {
        let inputs = eval::random_inputs(before, seed);
        let left = eval::run(before, &inputs).unwrap_or_else(|e| panic!("before: {e}"));
        let given: Vec<(String, Tensor)> = inputs
            .into_iter()
            .map(|(name, tensor)| {
                let ty = input_type(after, &name);
                let tensor = as_rows(tensor, ty.map_or(0, |ty| ty.rank()));
                (name, tensor)
            })
            .collect();
        let right = eval::run(after, &given).unwrap_or_else(|e| panic!("after: {e}"));
        assert_eq!(left.len(), right.len(), "results come and go");
        for ((name, a), (other, b)) in left.iter().zip(&right) {
            let a = &as_rows(a.clone(), b.shape().len());
            assert_eq!((name, a.ty()), (other, b.ty()), "a result changes");
            worst = worst.max(compare::max_rel(a, b));
        }
    }
    worst
}

fn input_type<'a>(graph: &'a Graph, name: &str) -> Option<&'a Type> {
    let inputs = graph.inputs().iter();
    let mut named =
        inputs.filter(|&&node| matches!(graph.op(node), Op::Input { name: n } if n == name));
    named.next().map(|&node| &graph.types(node)[0])
}

/// What `[b, heads, rows, width]` is in a cache, whose rows hold the heads side by side; anything else stays.
fn as_rows(tensor: Tensor, rank: usize) -> Tensor {
    let [b, heads, rows, width] = tensor.shape()[..] else {
        return tensor;
    };
    let Data::F32(values) = &tensor.data else {
        return tensor;
    };
    if rank != 3 {
        return tensor;
    }
    let turned = values.view().permuted_axes(vec![0, 2, 1, 3]);
    Tensor::f32(&[b, rows, heads * width], turned.iter().copied().collect())
}

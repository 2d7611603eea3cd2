//! Models that come quantised keep their integers; every way to quantise gives the same bits in packets and in
//! the graph.

use packwright_compile::compile::compile;
use packwright_compile::graph::calibrate;
use packwright_compile::graph::recipe::{self, Activations, Recipe};
use packwright_compile::options::CompileOptions;
use packwright_compile::pipeline::{self, GraphOptions};
use packwright_ir::eval::{self, compare};
use packwright_ir::konst::{Derivation, Source};
use packwright_ir::tensor::{Data, Tensor};
use packwright_ir::{Graph, Op, Quant};
use packwright_numerics::half_float::narrow_f16;
use packwright_packet::check::check;
use packwright_tests::reference::{self, Reference};
use packwright_tests::way::{both_for, target};
use rayon::prelude::*;

/// Least cosine of the first result to that of ONNX Runtime.
struct Aim {
    /// As imported: the same roundings.
    imported: f64,
    /// Without the roundings that are dropped.
    folded: f64,
}

fn aim(name: &str) -> Aim {
    let aim = |imported, folded| Aim { imported, folded };
    match name {
        // Operators on integers round inside, and look functions up.
        name if name.contains("integers") => aim(0.999, 0.98),
        // ONNX Runtime's result has the rounding of its scales, found for whole tensors.
        "bert.ts14.optimized.dynamic" => aim(0.99, 0.99),
        // Scales are found at run time: the result is that of floats.
        name if name.contains("dynamic") => aim(0.999_999, 0.999_999),
        _ => aim(0.9999, 0.98),
    }
}

fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The cosine of the first result to that of ONNX Runtime.
fn closeness(graph: &Graph, case: &Reference) -> f64 {
    let results = eval::run(graph, &case.inputs_of(graph)).expect("can be evaluated");
    let (name, expected) = &case.outputs[0];
    let found = results.iter().find(|(own, _)| own == name);
    compare::cosine(&found.expect("has the result").1, expected)
}

#[test]
fn results_are_those_of_onnx_runtime() {
    let names = reference::quantized_names();
    assert!(names.len() > 10);
    let complaints = names.par_iter().flat_map_iter(|name| {
        let case = reference::load_quantized(name);
        let aim = aim(name);
        let mut graph = match packwright_onnx::import(&case.model, &case.options()) {
            Ok(imported) => imported.graph,
            Err(problems) => return vec![format!("{name}: {problems}")],
        };
        let mut complaints = Vec::new();
        let imported = closeness(&graph, &case);
        if imported.is_nan() || imported < aim.imported {
            complaints.push(format!("{name}: {imported} as imported"));
        }
        if let Err(problems) = pipeline::fuse(&mut graph) {
            complaints.push(format!("{name}: {problems}"));
        }
        let folded = closeness(&graph, &case);
        if folded.is_nan() || folded < aim.folded {
            complaints.push(format!("{name}: {folded} after the passes"));
        }
        complaints
    });
    report(complaints.collect());
}

#[test]
fn integers_are_kept() {
    let complaints = reference::quantized_names()
        .into_par_iter()
        .filter_map(|name| {
            let case = reference::load_quantized(&name);
            let mut graph = case.import().graph;
            pipeline::run_graph_pipeline(&mut graph, &GraphOptions::default())
                .unwrap_or_else(|problems| panic!("{name}: {problems}"));
            let layers = recipe::layers(&graph);
            let requantized = |layer: &&recipe::Layer| {
                let weights = graph.operand(layer.node, 1).and_then(|v| graph.as_const(v));
                let source = weights.map(|id| &graph.konst(id).source);
                !matches!(source, Some(Source::Derived(Derivation::Scaled { .. })))
            };
            let found = layers.iter().filter(requantized).count();
            let own = |layer: &&recipe::Layer| {
                matches!(graph.ty(layer.input).quant, Some(Quant::Affine { .. }))
            };
            let scales = layers.iter().filter(own).count();
            let activations = name.contains("dynamic") == (scales == 0);
            let counts = format!("{name}: of {} layers", layers.len());
            (layers.is_empty() || found > 0 || !activations)
                .then(|| format!("{counts} {found} are rounded anew, {scales} keep their scale"))
        });
    report(complaints.collect());
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    match &tensor.data {
        Data::F32(values) => values.iter().copied().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn zero_points_are_kept_to_the_bit() {
    let case = reference::load_quantized("zero-points");
    // Products that are joined leave their results in f16; those that are results themselves do not.
    let equal = |graph: &Graph, stage: &str| {
        let results = eval::run(graph, &case.inputs_of(graph)).expect("can be evaluated");
        assert_eq!(results.len(), case.outputs.len());
        let mut exact = 0;
        for ((name, found), (_, expected)) in results.iter().zip(&case.outputs) {
            let halves = floats(expected).into_iter().map(|x| narrow_f16(x).to_f32());
            let whole = found == expected;
            assert!(
                whole || floats(found).into_iter().eq(halves),
                "{name} {stage}"
            );
            exact += usize::from(whole);
        }
        exact
    };
    let imported = case.import();
    assert!(imported.warnings.is_empty(), "{:?}", imported.warnings);
    let mut graph = imported.graph;
    assert_eq!(equal(&graph, "as imported"), case.outputs.len());
    pipeline::run_graph_pipeline(&mut graph, &GraphOptions::default()).expect("is quantised");
    let shifted = |layer: &recipe::Layer| {
        let weights = graph.operand(layer.node, 1).expect("has weights");
        matches!(graph.ty(weights).quant, Some(Quant::Shifted { .. }))
    };
    let layers = recipe::layers(&graph);
    assert!(
        !layers.is_empty() && layers.iter().all(shifted),
        "{layers:?}"
    );
    assert!(equal(&graph, "as integers") > 0);
}

/// What is wrong with the packets of a graph.
fn through_packets(graph: Graph, case: &Reference, recipe: Recipe) -> Option<String> {
    let e1 = target("e1", &[]);
    let options = CompileOptions {
        graph: GraphOptions {
            recipe,
            calibration: None,
            ..GraphOptions::default()
        },
        ..CompileOptions::default()
    };
    let mut compiled = match compile(graph, &e1, &options) {
        Ok(compiled) => compiled,
        Err(problems) => return Some(problems.to_string()),
    };
    if let Some(problem) = check(&compiled.program, &e1).first() {
        return Some(format!("{problem:?}"));
    }
    let inputs = case.inputs_of(&compiled.graph);
    let results = both_for(&mut compiled, &e1, &inputs);
    let differs = results
        .into_iter()
        .find(|(_, expected, found)| expected != found);
    differs.map(|(name, ..)| format!("{name} differs"))
}

#[test]
fn packets_of_quantised_models_compute_the_graph() {
    let complaints = reference::quantized_names()
        .into_par_iter()
        .filter_map(|name| {
            let case = reference::load_quantized(&name);
            let found = through_packets(case.import().graph, &case, Recipe::default())?;
            Some(format!("{name}: {found}"))
        });
    report(complaints.collect());
}

/// A recipe with one kind of activations for all layers, and scales for those that need them.
fn all(graph: &Graph, activations: Activations) -> Recipe {
    let mut meant = graph.clone();
    pipeline::fuse(&mut meant).expect("fuses");
    let mut recipe = Recipe {
        default: activations,
        ..Recipe::default()
    };
    calibrate::complete(&meant, &mut recipe);
    recipe
}

#[test]
fn packets_of_every_recipe_compute_the_graph() {
    let kinds = [
        Activations::Row { group: 16 },
        Activations::Static,
        Activations::WideRow,
        Activations::WideStatic,
    ];
    let names = [
        "bert.ts14",
        "gpt2-prefill.ts14",
        "llama-decode.ts14",
        "t5-decoder.ts14",
    ];
    let cases = names
        .iter()
        .flat_map(|name| kinds.map(|kind| (*name, kind)));
    let complaints = cases.par_bridge().filter_map(|(name, kind)| {
        let case = reference::load(name);
        let graph = case.import().graph;
        let recipe = all(&graph, kind);
        let found = through_packets(graph, &case, recipe)?;
        Some(format!("{name}, {kind:?}: {found}"))
    });
    report(complaints.collect());
}

#[test]
fn sixteen_bits_come_closer() {
    let case = reference::load("bert.ts14");
    let noise = |activations: Activations| {
        let mut graph = case.import().graph;
        let options = GraphOptions {
            recipe: all(&graph, activations),
            calibration: None,
            ..GraphOptions::default()
        };
        pipeline::run_graph_pipeline(&mut graph, &options).expect("is quantised");
        let parts = graph.node_ids().into_iter();
        let parts = parts.filter(|&node| matches!(graph.op(node), Op::QuantizeParts { .. }));
        (1.0 - closeness(&graph, &case), parts.count())
    };
    let (narrow, none) = noise(Activations::Row { group: 1024 });
    let (wide, some) = noise(Activations::WideRow);
    assert_eq!(none, 0);
    assert!(
        some > 4 && wide < narrow,
        "{wide} of {some}, not below {narrow}"
    );
}

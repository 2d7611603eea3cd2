//! Every embedded file imports, and its figures are those of the catalogue.

use packwright_zoo::{Zoo, ZooError, model_bytes};

#[test]
fn every_file_imports_with_the_figures_of_the_catalogue() {
    let mut report = String::new();
    for slm in Zoo::all() {
        for file in slm.files {
            for case in file.cases {
                let place = format!("{} {}", file.file, case.name);
                match file.import(case, None) {
                    Ok(imported) => {
                        let graph = imported.graph;
                        assert_eq!(graph.facts.parameters, file.parameters, "{place}");
                        assert_eq!(graph.facts.macs, case.macs, "{place}");
                        let nodes = packwright_ir::order::topological(&graph).len();
                        let (inputs, outputs) = (graph.inputs().len(), graph.outputs().len());
                        report += &format!(
                            "{place}: {nodes} nodes with {inputs} inputs, {outputs} outputs, {} constants\n",
                            graph.consts().len()
                        );
                        for warning in imported.warnings {
                            report += &format!("    {warning}\n");
                        }
                    }
                    Err(problems) => {
                        report += &format!("{place}: not supported\n");
                        for problem in problems.0 {
                            report += &format!("    {problem}\n");
                        }
                    }
                }
            }
        }
    }
    insta::assert_snapshot!(report);
}

#[test]
fn synthetic_weights_change_nothing_but_sources() {
    let file = Zoo::file("t5-small.decoder-past.ts14.dyn").unwrap();
    let case = &file.cases[0];
    let absent = file.import(case, None).unwrap().graph;
    let made = file.import(case, Some(7)).unwrap().graph;
    assert_eq!(absent.node_ids(), made.node_ids());
    for node in absent.node_ids() {
        assert_eq!(absent.op(node), made.op(node));
        assert_eq!(absent.operands(node), made.operands(node));
        assert_eq!(absent.types(node), made.types(node));
    }
    assert_eq!(absent.consts().len(), made.consts().len());
    let absent = absent.consts().iter().map(|c| (&c.name, &c.ty));
    assert!(absent.eq(made.consts().iter().map(|c| (&c.name, &c.ty))));
}

#[test]
fn names_are_found() {
    let names: Vec<&str> = Zoo::all().iter().map(|s| s.name).collect();
    insta::assert_snapshot!(names.join(", "), @"DistilBERT, TinyBERT, ALBERT, MiniLM, Reformer, Longformer, Ada, Babbage, T5-Small, T5-Base, GPT-2, SmolLM2-135M, Llama-3.2-1B");
    assert_eq!(Zoo::get("t5-small").unwrap().main_files().count(), 3);
    assert_eq!(Zoo::get("gpt-2").unwrap().main_files().count(), 2);
    assert!(Zoo::get("gpt-5").is_none());
    assert!(Zoo::all().iter().all(|s| s.main_files().count() > 0));
}

#[test]
fn files_decompress() {
    let bytes = model_bytes("minilm-l6.encoder.ts14.dyn.onnx").unwrap();
    assert_eq!(bytes.len(), 139_150);
    assert_eq!(bytes, model_bytes("minilm-l6.encoder.ts14.dyn").unwrap());
    assert!(matches!(
        model_bytes("nothing.onnx"),
        Err(ZooError::Unknown(_))
    ));
}

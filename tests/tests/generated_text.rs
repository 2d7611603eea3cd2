//! Generation with stored exports: what a session makes of a text, and what it refuses.

use packwright::cost;
use packwright::errors::Failure;
use packwright::generate::{self, Session};
use packwright::job::{self, EntryChoices};
use packwright::options::CompileChoices;
use packwright_compile::entries::CompiledProgram;
use packwright_compile::pipeline::{self, GraphOptions, Logits};
use packwright_ir::eval;
use packwright_ir::tensor::Tensor;
use packwright_onnx::Binding;
use packwright_sim::{Options, simulate};
use packwright_tests::reference;
use packwright_tests::way::target;

/// The value of a result.
fn result<'a>(results: &'a [(String, Tensor)], name: &str) -> &'a Tensor {
    let found = results.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("{name} is computed")).1
}

/// Stored exports as entries of one program for short prompts, with weights.
fn of_exports(entries: &[(&str, &str)], logits: Logits) -> CompiledProgram {
    of_exports_at(6, entries, logits)
}

/// `seq`: positions of a prompt, or of an encoder.
fn of_exports_at(seq: u64, entries: &[(&str, &str)], logits: Logits) -> CompiledProgram {
    let folder = tempfile::tempdir().expect("a folder");
    let models = entries.iter().map(|(entry, model)| {
        let path = folder.path().join(format!("{model}.onnx"));
        std::fs::write(&path, reference::bytes(model)).expect("a file");
        ((*entry).to_owned(), path.display().to_string())
    });
    let choices = EntryChoices {
        models: models.collect(),
        capacity: Some(16),
        binding: Binding {
            seq: Some(seq),
            ..Binding::default()
        },
    };
    let e2 = target("e2", &[]);
    let compile = CompileChoices {
        logits,
        ..CompileChoices::default()
    };
    let (mut compiled, _) = job::compile_entries(&choices, &e2, &compile)
        .unwrap_or_else(|failure| panic!("{failure:?}"));
    assert!(compiled.with_constants().expect("the models have weights"));
    job::judge(&compiled.program, &e2).unwrap_or_else(|failure| panic!("{failure:?}"));
    compiled
}

/// What is generated after a prompt.
fn generated(entries: &[(&str, &str)], logits: Logits, prompt: &[i64], new: usize) -> Vec<i64> {
    let compiled = of_exports(entries, logits);
    let e2 = target("e2", &[]);
    let mut session = Session::new(&compiled.program, &e2).expect("a session");
    let tokens = generate::greedy(&mut session, prompt, new, &[], &mut |_| {});
    tokens.unwrap_or_else(|failure| panic!("{failure:?}"))
}

/// The most likely token after a text, as the quantised graph in `eval` has it.
fn next_token(model: &str, text: &[i64]) -> i64 {
    let mut case = reference::load(model);
    let n = text.len() as i64;
    case.inputs = vec![
        (
            "input_ids".into(),
            Tensor::i64(&[1, text.len()], text.to_vec()),
        ),
        (
            "attention_mask".into(),
            Tensor::i64(&[1, text.len()], vec![1; text.len()]),
        ),
        (
            "position_ids".into(),
            Tensor::i64(&[1, text.len()], (0..n).collect()),
        ),
    ];
    let mut graph = case.import().graph;
    pipeline::run_graph_pipeline(&mut graph, &GraphOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    let results = eval::run(&graph, &case.inputs_of(&graph)).unwrap_or_else(|e| panic!("{e}"));
    let logits = result(&results, "logits").to_le_bytes();
    let width = result(&results, "logits").ty().columns();
    let row = logits[logits.len() - 4 * width..].as_chunks::<4>().0.iter();
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &word) in row.enumerate() {
        let value = f32::from_le_bytes(word);
        if value > best.1 {
            best = (token as i64, value);
        }
    }
    best.0
}

#[test]
fn generated_tokens_are_those_of_the_quantised_graph() {
    let prompt = [3, 1, 4, 1, 5];
    let apart = [
        ("prefill", "gpt2-prefill.ts14"),
        ("decode", "gpt2-decode.ts14"),
    ];
    let merged = [("prefill", "gpt2-merged"), ("decode", "gpt2-merged")];
    let tokens = generated(&apart, Logits::All, &prompt, 6);
    let mut text = prompt.to_vec();
    for &token in &tokens {
        assert_eq!(
            next_token("gpt2-prefill.ts14", &text),
            token,
            "after {text:?}"
        );
        text.push(token);
    }
    // One file whose flag chooses the branch, and a head that sees one position.
    assert_eq!(generated(&merged, Logits::All, &prompt, 6), tokens);
    assert_eq!(generated(&apart, Logits::One, &prompt, 6), tokens);
    // A longer prompt than the prefill takes goes on position by position.
    let longer = generated(&merged, Logits::One, &text[..9], 2);
    assert_eq!(longer, text[9..11]);
}

/// What the quantised graph of a stored model computes, at the lengths of its inputs; caches come from `held`.
fn evaluated(
    model: &str,
    inputs: Vec<(String, Tensor)>,
    held: &[(String, Tensor)],
) -> Vec<(String, Tensor)> {
    let mut case = reference::load(model);
    case.inputs = inputs;
    let mut graph = case.import().graph;
    pipeline::run_graph_pipeline(&mut graph, &GraphOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    let mut given = case.inputs_of(&graph);
    for (name, tensor) in &mut given {
        if let Some((_, own)) = held.iter().find(|(own, _)| own == name) {
            *tensor = own.clone();
        }
    }
    eval::run(&graph, &given).unwrap_or_else(|error| panic!("{model}: {error}"))
}

/// What a pass leaves to the next.
fn left(results: &[(String, Tensor)]) -> impl Iterator<Item = (String, Tensor)> {
    let caches = results.iter().filter_map(|(name, tensor)| {
        let rest = name.strip_prefix("present.")?;
        Some((format!("past_key_values.{rest}"), tensor.clone()))
    });
    caches.collect::<Vec<_>>().into_iter()
}

#[test]
fn an_encoder_and_its_decoder_take_texts_of_every_length() {
    for exporter in ["ts14", "dynamo18"] {
        assert_encoder_and_decoder(exporter);
    }
}

/// Most positions of an encoder's text.
const MOST: usize = 12;

#[test]
fn a_token_reads_the_rows_of_both_texts() {
    let entries = [
        ("encoder", "t5-encoder.ts14"),
        ("decoder", "t5-decoder.ts14"),
        ("decode", "t5-decoder-past.ts14"),
    ];
    let program = of_exports_at(MOST as u64, &entries, Logits::All).program;
    let decode = &program.entries[2];
    // Keys and values of two layers: two heads of twelve elements and a scale.
    let row = 2 * 2 * 2 * (12 + 4);
    for (position, text) in [(1, 1), (1, 12), (9, 5), (15, 12)] {
        let options = Options {
            registers: generate::registers(decode, position, text),
            ..Options::default()
        };
        let report = simulate(&program, decode, &target("e2", &[]), &options);
        let bytes = report.unwrap_or_else(|error| panic!("{error}")).dram.bytes;
        assert_eq!(bytes.kv_read, (position + text) * row, "{position}, {text}");
        let least = decode.bound.at(&decode.registers, &options.registers).0;
        assert!(bytes.total() >= least, "{position}, {text}");
    }
}

fn assert_encoder_and_decoder(exporter: &str) {
    let [encoder, decoder, decode] =
        ["encoder", "decoder", "decoder-past"].map(|part| format!("t5-{part}.{exporter}"));
    let entries = [
        ("encoder", encoder.as_str()),
        ("decoder", &decoder),
        ("decode", &decode),
    ];
    let compiled = of_exports_at(MOST as u64, &entries, Logits::All);
    let e2 = target("e2", &[]);
    let mut session = Session::new(&compiled.program, &e2).expect("a session");
    assert_eq!(session.capacity(), 16);
    let row = |values: &[i64]| Tensor::i64(&[1, values.len()], values.to_vec());
    let input = |name: &str, tensor: Tensor| (name.to_owned(), tensor);
    for (n, positions) in [(1, 3), (7, 16), (MOST, 3)] {
        let text: Vec<i64> = (0..n as i64).map(|i| 5 + 7 * i % 50).collect();
        let seen = row(&vec![1; n]);
        let encoded = evaluated(
            &encoder,
            vec![
                input("input_ids", row(&text)),
                input("attention_mask", seen.clone()),
            ],
            &[],
        );
        let mut token = 0;
        let mut expected = evaluated(
            &decoder,
            vec![
                input("encoder_attention_mask", seen.clone()),
                input("input_ids", row(&[token])),
                input("encoder_hidden_states", encoded[0].1.clone()),
            ],
            &[],
        );
        let mut held: Vec<(String, Tensor)> = left(&expected).collect();
        session.clear();
        session
            .encode(&text)
            .unwrap_or_else(|failure| panic!("{failure:?}"));
        for position in 0..positions {
            let found = session.feed(&[token]);
            let found = found.unwrap_or_else(|failure| panic!("{failure:?}"));
            let bytes: Vec<u8> = found[0].iter().flat_map(|x| x.to_le_bytes()).collect();
            assert!(
                bytes == result(&expected, "logits").to_le_bytes(),
                "{exporter}: logits differ behind {n} and {position}"
            );
            token = (token + 11) % 60;
            let past = |(name, tensor): &(String, Tensor)| {
                let width = 12;
                let shape = [1, tensor.shape()[2] / width, tensor.shape()[1], width];
                (
                    name.clone(),
                    Tensor::f32(&shape, vec![0.0; shape.iter().product()]),
                )
            };
            let mut inputs: Vec<(String, Tensor)> = held.iter().map(past).collect();
            inputs.push(input("encoder_attention_mask", seen.clone()));
            inputs.push(input("input_ids", row(&[token])));
            expected = evaluated(&decode, inputs, &held);
            for (name, tensor) in left(&expected) {
                let own = held.iter_mut().find(|(own, _)| *own == name);
                own.expect("it was there before").1 = tensor;
            }
        }
    }
}

#[test]
fn prompts_go_through_the_shortest_prefill_that_holds_them() {
    let entries = [
        ("prefill@2", "gpt2-prefill.ts14"),
        ("prefill@4", "gpt2-prefill.ts14"),
        ("decode", "gpt2-decode.ts14"),
    ];
    let several = of_exports(&entries, Logits::All);
    let one = of_exports(&entries[1..], Logits::All);
    let (several, one) = (&several.program, &one.program);
    // The other prefill adds its masks, and no weight.
    let more = several.constants.len() - one.constants.len();
    assert!(more <= 512, "{more} bytes more than one prefill");
    let name = |prompt: u64| {
        let prefills = several.entries[..2].iter();
        let found = generate::prefill_for(prefills, prompt);
        found.map(|entry| entry.name.as_str())
    };
    let names = [1, 2, 3, 4, 9].map(name);
    let expected = [
        "prefill@2",
        "prefill@2",
        "prefill@4",
        "prefill@4",
        "prefill@4",
    ];
    assert_eq!(names, expected.map(Some));

    let e2 = target("e2", &[]);
    let after = |program, prompt: &[i64]| {
        let mut session = Session::new(program, &e2).expect("a session");
        let tokens = generate::greedy(&mut session, prompt, 4, &[], &mut |_| {});
        tokens.unwrap_or_else(|failure| panic!("{failure:?}"))
    };
    for prompt in [&[3, 1][..], &[3, 1, 4], &[3, 1, 4, 1, 5]] {
        assert_eq!(after(several, prompt), after(one, prompt), "{prompt:?}");
    }
    // What the longest does not hold goes on position by position, and costs that.
    let first = |program, prompt| {
        let length = cost::Length { prompt, new: 2 };
        let report = cost::cost(program, &e2, length, 2);
        let report = report.unwrap_or_else(|failure| panic!("{failure:?}"));
        (report.first_token_seconds, report.prefill)
    };
    let (short, _) = first(several, 2);
    let (long, way) = first(several, 4);
    assert!(short < long, "{short} {long}");
    assert_eq!(way, "one pass");
    let (behind, way) = first(several, 6);
    assert!(behind > long, "{behind} {long}");
    assert_eq!(way, "4 positions in one pass, then one by one");
}

#[test]
fn texts_that_do_not_fit_say_so() {
    let entries = [
        ("prefill", "gpt2-prefill.ts14"),
        ("decode", "gpt2-decode.ts14"),
    ];
    let compiled = of_exports(&entries, Logits::One);
    let program = &compiled.program;
    let e2 = target("e2", &[]);
    let mut session = Session::new(program, &e2).expect("a session");
    assert_eq!(session.capacity(), 16);
    let code = |failure: Failure| -> Vec<&str> { failure.0.iter().map(|p| p.code).collect() };
    let mut greedy = |prompt: &[i64], new| {
        session.clear();
        let tokens = generate::greedy(&mut session, prompt, new, &[], &mut |_| {});
        tokens.map(|tokens| tokens.len()).map_err(code)
    };
    let long = [7; 17];
    // The last token is never given back: 16 positions hold 12 and make 5.
    assert_eq!(greedy(&long[..12], 5), Ok(5));
    assert_eq!(greedy(&long[..12], 6), Err(vec!["generate-too-long"]));
    assert_eq!(greedy(&long[..16], 1), Ok(1));
    assert_eq!(greedy(&long, 1), Err(vec!["generate-too-long"]));
    assert_eq!(greedy(&[], 1), Err(vec!["prompt-empty"]));
    let cost = |prompt, new| {
        let report = cost::cost(program, &e2, cost::Length { prompt, new }, 2);
        report.map(|report| report.capacity).map_err(code)
    };
    assert_eq!(cost(12, 5), Ok(16));
    assert_eq!(cost(12, 6), Err(vec!["generate-too-long"]));
    assert_eq!(cost(17, 1), Err(vec!["generate-too-long"]));
}

#[test]
fn lengths_of_entries_are_numbers() {
    for name in ["prefill@", "prefill@0", "prefill@x"] {
        let choices = EntryChoices {
            models: vec![(name.to_owned(), "zoo:GPT-2".to_owned())],
            ..EntryChoices::default()
        };
        let compiled =
            job::compile_entries(&choices, &target("e2", &[]), &CompileChoices::default());
        let failure = compiled.expect_err("is no length");
        assert_eq!(failure.0[0].code, "entry-length", "{name}");
    }
}

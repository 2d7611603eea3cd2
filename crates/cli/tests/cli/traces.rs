//! Traces keep to the Trace Event Format.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::command::Folder;

/// The events of a model's trace.
fn events(model: &str) -> Vec<Value> {
    let folder = Folder::new();
    folder.done(&["compile", model, "--seq", "32", "-o", "m.npu"]);
    folder.done(&["simulate", "m.npu", "--trace", "t.json"]);
    let text = std::fs::read(folder.path("t.json")).expect("was written");
    let trace: Value = serde_json::from_slice(&text).expect("is JSON");
    let keys: BTreeSet<&str> = trace
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(keys, ["displayTimeUnit", "traceEvents"].into());
    assert_eq!(trace["displayTimeUnit"], "ns");
    trace["traceEvents"].as_array().expect("a list").clone()
}

fn time(event: &Value, field: &str) -> f64 {
    let time = event[field]
        .as_f64()
        .unwrap_or_else(|| panic!("{field} is no number: {event}"));
    assert!(time.is_finite() && time >= 0.0, "{event}");
    time
}

fn thread(event: &Value) -> (u64, u64) {
    let id = |field: &str| {
        event[field]
            .as_u64()
            .unwrap_or_else(|| panic!("no {field}: {event}"))
    };
    (id("pid"), id("tid"))
}

#[test]
fn events_have_the_fields_that_their_phase_asks_for() {
    let events = events("zoo:TinyBERT");
    let mut phases: BTreeMap<&str, u64> = BTreeMap::new();
    for event in &events {
        let phase = event["ph"].as_str().expect("a phase");
        *phases.entry(phase).or_default() += 1;
        assert!(
            event["name"].is_string() && event["pid"].is_u64(),
            "{event}"
        );
        match phase {
            "M" => {
                let name = event["name"].as_str().expect("a name");
                assert!(["process_name", "thread_name"].contains(&name), "{event}");
                assert!(event["args"]["name"].is_string(), "{event}");
            }
            "X" => {
                time(event, "ts");
                time(event, "dur");
                thread(event);
                assert!(
                    event["cat"].is_string() && event["args"]["packet"].is_u64(),
                    "{event}"
                );
            }
            "s" | "f" => {
                time(event, "ts");
                thread(event);
                assert!(event["id"].is_u64() && event["cat"] == "token", "{event}");
                assert_eq!(event["bp"].as_str(), (phase == "f").then_some("e"));
            }
            "C" => {
                time(event, "ts");
                let values = event["args"].as_object().expect("values");
                assert!(
                    values
                        .values()
                        .all(|value| value.as_f64().is_some_and(|v| v >= 0.0)),
                    "{event}"
                );
            }
            other => panic!("phase {other}"),
        }
    }
    for phase in ["M", "X", "s", "f", "C"] {
        assert!(phases.contains_key(phase), "{phases:?}");
    }
}

#[test]
fn slices_of_a_unit_follow_each_other_and_arrows_join_them() {
    let events = events("zoo:TinyBERT");
    let of = |phase: &'static str| events.iter().filter(move |event| event["ph"] == phase);
    let named: BTreeSet<(u64, u64)> = of("M")
        .filter(|e| e["name"] == "thread_name")
        .map(thread)
        .collect();
    let mut slices: BTreeMap<(u64, u64), Vec<(f64, f64)>> = BTreeMap::new();
    for slice in of("X") {
        assert!(named.contains(&thread(slice)), "{slice}");
        let start = time(slice, "ts");
        slices
            .entry(thread(slice))
            .or_default()
            .push((start, start + time(slice, "dur")));
    }
    // Times are thousandths of microseconds; sums of floats may be off by less than that.
    let (cycle, close) = (1e-3, 1e-6);
    for of_unit in slices.values_mut() {
        of_unit.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            of_unit
                .windows(2)
                .all(|pair| pair[0].1 <= pair[1].0 + close)
        );
    }
    let mut starts: BTreeMap<u64, &Value> = BTreeMap::new();
    for arrow in of("s") {
        let id = arrow["id"].as_u64().expect("an id");
        assert!(starts.insert(id, arrow).is_none(), "{arrow}");
    }
    let inside = |event: &Value| {
        let at = time(event, "ts");
        let of_unit = slices.get(&thread(event));
        of_unit.is_some_and(|list| {
            list.iter()
                .any(|&(from, to)| from - close <= at && at <= to + close)
        })
    };
    for arrow in of("f") {
        let id = arrow["id"].as_u64().expect("an id");
        let start = starts
            .remove(&id)
            .unwrap_or_else(|| panic!("{arrow} has no start"));
        assert_eq!(start["name"], arrow["name"]);
        assert!(
            time(start, "ts") <= time(arrow, "ts") + cycle,
            "{start} {arrow}"
        );
        assert!(inside(start) && inside(arrow), "{start} {arrow}");
    }
    assert!(starts.is_empty(), "arrows without an end: {starts:?}");
}

#[test]
fn counters_go_forward_in_time() {
    let events = events("zoo:TinyBERT");
    let mut last: BTreeMap<(u64, String), f64> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for event in events.iter().filter(|event| event["ph"] == "C") {
        let name = event["name"].as_str().expect("a name").to_owned();
        names.insert(name.clone());
        let key = (event["pid"].as_u64().expect("a process"), name);
        let at = time(event, "ts");
        if let Some(before) = last.insert(key, at) {
            assert!(before < at, "{event}");
        }
    }
    assert_eq!(
        names,
        ["DRAM GB/s".to_owned(), "SRAM bytes".to_owned()].into()
    );
}

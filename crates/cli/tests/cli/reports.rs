//! Reports and tables of whole jobs.

use crate::command::{Folder, run};

#[test]
fn rows_of_slms_keep_the_order_of_the_catalogue() {
    let ran = run(&["slms", "TinyBERT", "MiniLM", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(json["schema"], "packwright.slms/1");
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["name"], "TinyBERT");
    for row in rows {
        let ok = row["status"] == "ok";
        assert!(ok || row["status"] == "not yet");
        assert_eq!(row["report"].is_object(), ok, "{row}");
        assert_eq!(row["reason"].is_null(), ok, "{row}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let one = run(&["slms", "TinyBERT", "MiniLM", "--json", "-j", "1"]);
    let two = run(&["slms", "TinyBERT", "MiniLM", "--json", "-j", "2"]);
    assert_eq!(one.stdout, two.stdout);
}

#[test]
fn unknown_models_are_an_error() {
    let ran = run(&["slms", "Nonsense", "--json"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.codes(), ["zoo-unknown"]);
}

#[test]
fn reports_are_compared_side_by_side() {
    let folder = Folder::new();
    let report = |seconds: f64| {
        format!(
            r#"{{"schema": "packwright.report/1", "model": "m", "target": "e2", "precision": "w8a8",
                "entries": [{{"name": "main", "seconds": {seconds}, "dram_bytes": {{"total": 1000}}}}]}}"#
        )
    };
    folder.write("a.json", report(0.002).as_bytes());
    folder.write("b.json", report(0.001).as_bytes());
    insta::assert_snapshot!(folder.done(&["compare", "a.json", "b.json"]));
    let three = folder.done(&["compare", "a.json", "b.json", "a.json"]);
    insta::assert_snapshot!("reports_are_compared_three_at_a_time", three);
    folder.write("c.json", b"{\"rows\": []}");
    let ran = folder.run(&["compare", "a.json", "c.json", "--json"]);
    assert_eq!(
        (ran.code, ran.codes()),
        (1, vec!["report-unreadable".to_owned()])
    );
}

#[test]
fn packets_add_up_to_their_entry() {
    let folder = Folder::new();
    folder.done(&["compile", "zoo:TinyBERT", "--seq", "32", "-o", "m.npu"]);
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&folder.done(args)).expect("is JSON")
    };
    let plain = json(&["simulate", "m.npu", "--json"]);
    assert!(plain["entries"][0].get("packet_costs").is_none());
    let report = json(&["simulate", "m.npu", "--json", "--packets"]);
    let entry = &report["entries"][0];
    let packets = entry["packet_costs"].as_array().expect("a list");
    assert_eq!(packets.len() as u64, entry["packets"]);
    let sum = |path: [&str; 2]| -> u64 {
        let values = packets.iter().map(|packet| match path[1] {
            "" => &packet[path[0]],
            inner => &packet[path[0]][inner],
        });
        values.map(|value| value.as_u64().expect("a number")).sum()
    };
    assert_eq!(sum(["macs", ""]), entry["macs_executed"]);
    assert_eq!(sum(["commands", ""]), entry["commands"]);
    let of_packets = &entry["dram_bytes"]["packets"];
    let moved = sum(["dram_bytes", "total"]) + of_packets.as_u64().expect("a number");
    assert_eq!(moved, entry["dram_bytes"]["total"]);
    for unit in ["dma", "matrix", "vector"] {
        let of_unit = &entry["units"][unit];
        let held = of_unit["stall"]["sram"].as_u64().unwrap_or(0);
        let busy = of_unit["busy"].as_u64().expect("a number") + held;
        assert_eq!(sum(["busy", unit]), busy, "{unit}");
    }
    let pair = |point: &serde_json::Value| Some((point[0].as_u64()?, point[1].as_u64()?));
    let used = entry["sram_over_time"].as_array().expect("a list");
    let used: Option<Vec<(u64, u64)>> = used.iter().map(pair).collect();
    let used = used.expect("cycles and bytes");
    assert!(
        used.is_sorted_by(|a, b| a.0 < b.0),
        "each time once, in order"
    );
    let most = used.iter().map(|&(_, bytes)| bytes).max();
    assert!(most.is_some_and(|most| most > 0 && most <= 2 << 20));
    for (number, packet) in packets.iter().enumerate() {
        assert_eq!(packet["packet"], number);
        assert!(packet["layer"].is_string() && packet["what"].is_string());
    }
}

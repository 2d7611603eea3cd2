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
    folder.write("c.json", b"{\"rows\": []}");
    let ran = folder.run(&["compare", "a.json", "c.json", "--json"]);
    assert_eq!(
        (ran.code, ran.codes()),
        (1, vec!["report-unreadable".to_owned()])
    );
}

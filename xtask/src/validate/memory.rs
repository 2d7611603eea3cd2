//! LPDDR against DRAMsim3 and Ramulator.

use packwright_sim::anchor::{mean_and_worst, memory};

/// Tables of both memories.
pub fn section() -> anyhow::Result<String> {
    let mut text = String::from(
        "Share of the peak bandwidth that a pattern reaches when the queue is never empty; 4 MiB in bursts of 32 \
         bytes. The same controller model answers for both memories; only timings, map, queue and the thresholds \
         of writing differ, as the sources give them. Random addresses come from another generator.\n",
    );
    for (name, anchors) in [
        (
            "DRAMsim3 (commit 2981759), LPDDR4-3200, 2 × 16 bit",
            memory::dramsim3(),
        ),
        (
            "Ramulator 2.1 (commit c5b1c3a), LPDDR5-6400, 2 × 16 bit",
            memory::ramulator(),
        ),
    ] {
        text += &format!(
            "\n### {name}\n\n| pattern | map | variant | theirs | ours | error |\n|---|---|---|---:|---:|---:|\n"
        );
        let mut errors = Vec::new();
        for anchor in &anchors {
            let ours = anchor.ours()?;
            let error = ours - anchor.theirs;
            errors.push(error);
            text += &format!(
                "| {} | {} | {} | {:.3} | {ours:.3} | {error:+.3} |\n",
                anchor.pattern, anchor.map, anchor.variant, anchor.theirs
            );
        }
        let (mean, worst) = mean_and_worst(errors.into_iter());
        text += &format!(
            "\n{} rows: mean error {:.1} % of the peak, worst {:.1} %.\n",
            anchors.len(),
            mean * 100.0,
            worst * 100.0
        );
    }
    text += "\nNot compared: DRAMsim3's refresh of single banks, which loses 41 % of a plain stream where Ramulator \
             gains 4 %; rows with one burst in 64 clocks, which measure latency.\n\nWhere they differ most: \
             DRAMsim3 holds up to eight more commands a bank beside its 32 transactions, so a stream that fills one \
             channel's queue first does better there (tiles of 128 and 256 bytes); it closes rows that waiting \
             bursts still want, so four streams of 64 bytes do worse. Ramulator lets a precharge pass between hits, \
             which overlaps better where every row is another one (tiles of 2,048 bytes). Compiled programs \
             stream weights in runs of kilobytes, where the error is below 1 %.\n";
    Ok(text)
}

//! Systolic arrays against SCALE-Sim.

use packwright_sim::anchor::array;

/// The table of products, and what double buffering gains.
pub fn section() -> anyhow::Result<String> {
    let anchors = array::scale_sim();
    let mut text = String::from(
        "SCALE-Sim 3.0.0, products M × K by K × N, weight-stationary (ws) and output-stationary (os), memory never \
         stalls. SCALE-Sim loads the weights of a fold after the pass before it; `ours` is in that configuration. \
         `double` is the machine as the presets have it: the next weights load while the present ones work.\n\n\
         | layer | M | K | N | array | flow | theirs | ours | error | double | gain |\n\
         |---|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|\n",
    );
    let (mut exact, mut gain) = (0, 0.0);
    for anchor in &anchors {
        let (ours, double) = (anchor.ours(), anchor.double_buffered());
        exact += usize::from(ours == anchor.theirs);
        gain += ours as f64 / double as f64;
        let flow = match anchor.array.dataflow {
            packwright_target::engine::Dataflow::WeightStationary => "ws",
            packwright_target::engine::Dataflow::OutputStationary => "os",
        };
        text += &format!(
            "| {} | {} | {} | {} | {} | {flow} | {} | {ours} | {:+} | {double} | {:.2}× |\n",
            anchor.layer,
            anchor.m,
            anchor.k,
            anchor.n,
            anchor.array.rows,
            anchor.theirs,
            ours as i64 - anchor.theirs as i64,
            ours as f64 / double as f64
        );
    }
    text += &format!(
        "\n{exact} of {} rows to the cycle; double buffering is {:.2} times as fast in the mean.\n",
        anchors.len(),
        gain / anchors.len() as f64
    );
    Ok(text)
}

//! scratch
use super::Selection;
use super::point::Point;
use packwright_compile::options::PlanMode;
use rayon::prelude::*;
pub fn section(selection: &Selection) -> anyhow::Result<String> {
    let models = ["SmolLM2-135M:prefill","Ada:prefill","Llama-3.2-1B:prefill","Longformer","Reformer","T5-Small:decoder"];
    let sizes = [64u64, 128, 256, 512, 1024, 2048, 4096, 8192];
    let mut jobs = Vec::new();
    for m in models.into_iter().filter(|m| selection.has(m)) {
        for seq in [128u64, 512, 2048] {
            if !m.contains("prefill") && seq != 512 { continue }
            if m.contains("Llama") && seq > 128 { continue }
            for s in sizes { jobs.push((m, seq, s)); }
        }
    }
    jobs.par_iter().for_each(|&(m, seq, s)| {
        let t = std::time::Instant::now();
        let p = Point { model: m.into(), target: "e2", seq: m.contains("prefill").then_some(seq), sram: Some(s << 10), mode: PlanMode::Best, ..Point::default() };
        let e = match p.planned() {
            Ok((b, bound)) => format!("{:.1} MB att {:.2} ({:.1}) bound {:.2}", b as f64/1e6, b as f64/bound.attainable_dram_bytes as f64, bound.attainable_dram_bytes as f64/1e6, b as f64/bound.dram_bytes as f64),
            Err(e) => e,
        };
        println!("{m} {seq} {s} : {e} {:.1}s", t.elapsed().as_secs_f64());
    });
    Ok(String::new())
}

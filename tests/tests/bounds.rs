//! Bounds on DRAM traffic against every schedule of small machines: nobody beats them.
//!
//! What an exhaustive search may do is more than any machine can: products take no time and no room but for their
//! operands and results, keys, values and partial sums take no room at all, rows of earlier layers are there again
//! for nothing. The least that it moves is at least what the bound says.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use packwright_compile::bound::bound;
use packwright_compile::compile::{Compiled, compile};
use packwright_compile::options::{CompileOptions, PlanMode, PlanOptions};
use packwright_compile::plan::constants::{Form, Stored};
use packwright_sim::{Options, simulate};
use packwright_tests::way::target;
use proptest::prelude::*;

/// Rows of the residual stream between two attentions, and the weights that make them, in parts of the contraction.
#[derive(Clone, Copy, Debug)]
struct Barrier {
    rows: usize,
    parts: usize,
    /// Bytes of a row, and of a part of the weights.
    row: u64,
    weights: u64,
    sram: u64,
}

/// What is in SRAM and in DRAM, and which rows the attention has seen; then, which have been used behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct State {
    /// For each row the parts of its sum: all where it is complete, none where it is not there.
    sums: u32,
    weights: u32,
    stored: u32,
    seen: u32,
    behind: bool,
}

impl Barrier {
    fn all_rows(&self) -> u32 {
        (1 << self.rows) - 1
    }

    fn sum(&self, state: &State, row: usize) -> u32 {
        state.sums >> (row * self.parts) & self.whole()
    }

    fn whole(&self) -> u32 {
        (1 << self.parts) - 1
    }

    fn bytes(&self, state: &State) -> u64 {
        let rows = (0..self.rows).filter(|&row| self.sum(state, row) != 0);
        rows.count() as u64 * self.row + u64::from(state.weights.count_ones()) * self.weights
    }

    /// Complete rows in SRAM are seen; behind the barrier, they are used.
    fn settled(&self, mut state: State) -> State {
        let complete = (0..self.rows).filter(|&row| self.sum(&state, row) == self.whole());
        let complete = complete.fold(0, |set, row| set | 1 << row);
        state.seen |= complete;
        if !state.behind && state.seen == self.all_rows() {
            (state.behind, state.seen) = (true, complete);
        }
        self.sorted(&state)
    }

    /// Rows are alike: of states that differ in their order alone, one stands for all.
    fn sorted(&self, state: &State) -> State {
        let bit = |set: u32, row: usize| set >> row & 1;
        let mut rows: Vec<[u32; 3]> = (0..self.rows)
            .map(|row| {
                [
                    self.sum(state, row),
                    bit(state.stored, row),
                    bit(state.seen, row),
                ]
            })
            .collect();
        rows.sort_unstable();
        let mut sorted = State {
            weights: state.weights,
            behind: state.behind,
            ..State::default()
        };
        for (row, [sum, stored, seen]) in rows.into_iter().enumerate() {
            sorted.sums |= sum << (row * self.parts);
            sorted.stored |= stored << row;
            sorted.seen |= seen << row;
        }
        sorted
    }

    /// Every step from a state, with the bytes that it moves.
    fn steps(&self, state: &State) -> Vec<(State, u64)> {
        let mut steps = Vec::new();
        let mut add = |next: State, bytes: u64| {
            if self.bytes(&next) <= self.sram {
                steps.push((self.settled(next), bytes));
            }
        };
        for part in 0..self.parts {
            let weights = state.weights ^ 1 << part;
            let bytes = if weights >> part & 1 == 0 {
                0
            } else {
                self.weights
            };
            add(State { weights, ..*state }, bytes);
        }
        for row in 0..self.rows {
            let (sum, at) = (self.sum(state, row), row * self.parts);
            let with = |sum: u32| State {
                sums: state.sums & !(self.whole() << at) | sum << at,
                ..*state
            };
            let stored = state.stored >> row & 1 == 1;
            if sum != 0 {
                add(with(0), 0);
            } else if stored {
                add(with(self.whole()), self.row);
            }
            if sum == self.whole() && !stored {
                let stored = state.stored | 1 << row;
                add(State { stored, ..*state }, self.row);
            }
            for part in 0..self.parts {
                if state.weights >> part & 1 == 1 && sum >> part & 1 == 0 {
                    add(with(sum | 1 << part), 0);
                }
            }
        }
        steps
    }

    /// The least bytes of any schedule; nothing where SRAM is too small for any.
    fn least(&self) -> Option<u64> {
        let mut best: HashMap<State, u64> = HashMap::new();
        let mut queue = BinaryHeap::from([Reverse((0u64, State::default()))]);
        while let Some(Reverse((bytes, state))) = queue.pop() {
            if state.behind && state.seen == self.all_rows() {
                return Some(bytes);
            }
            if best.get(&state).is_some_and(|&known| known < bytes) {
                continue;
            }
            for (next, more) in self.steps(&state) {
                let known = best.entry(next).or_insert(u64::MAX);
                if bytes + more < *known {
                    *known = bytes + more;
                    queue.push(Reverse((bytes + more, next)));
                }
            }
        }
        None
    }
}

/// Weights that every layer uses again, in parts: projections, then, behind a barrier, the product with the results.
#[derive(Clone, Copy, Debug)]
struct Shared {
    layers: usize,
    projections: usize,
    outputs: usize,
    /// Bytes of a part.
    part: u64,
    sram: u64,
}

impl Shared {
    /// The parts that each step of a pass uses, one step after the other: of one row, which takes no room.
    fn uses(&self) -> Vec<u32> {
        let projections = (1 << self.projections) - 1;
        let outputs = ((1 << self.outputs) - 1) << self.projections;
        (0..self.layers)
            .flat_map(|_| [projections, outputs])
            .collect()
    }

    /// The least bytes of any schedule; nothing where SRAM holds no part.
    fn least(&self) -> Option<u64> {
        let uses = self.uses();
        // What is held is used; a step that has used all it wants gives way to the next.
        let settled = |mut step: usize, mut used: u32, held: u32| {
            while let Some(&wanted) = uses.get(step) {
                used |= held & wanted;
                if used != wanted {
                    break;
                }
                (step, used) = (step + 1, 0);
            }
            (step, used, held)
        };
        // The step at hand, the parts that it has used, those in SRAM.
        let mut best: HashMap<(usize, u32, u32), u64> = HashMap::new();
        let mut queue = BinaryHeap::from([Reverse((0u64, (0usize, 0u32, 0u32)))]);
        while let Some(Reverse((bytes, (step, used, held)))) = queue.pop() {
            if step == uses.len() {
                return Some(bytes);
            }
            if best
                .get(&(step, used, held))
                .is_some_and(|&known| known < bytes)
            {
                continue;
            }
            for part in 0..self.projections + self.outputs {
                let held = held ^ 1 << part;
                if u64::from(held.count_ones()) * self.part > self.sram {
                    continue;
                }
                let next = settled(step, used, held);
                let bytes = bytes + if held >> part & 1 == 1 { self.part } else { 0 };
                let known = best.entry(next).or_insert(u64::MAX);
                if bytes < *known {
                    *known = bytes;
                    queue.push(Reverse((bytes, next)));
                }
            }
        }
        None
    }
}

/// Layers of an attention and its output product, with weights of their own or the same for all.
fn layers(count: usize, rows: usize, columns: usize, shared: bool) -> String {
    let (wide, double) = (3 * columns, 2 * columns);
    let mut constants = String::new();
    for layer in 0..if shared { 1 } else { count } {
        let (qkv, out) = (2 * layer, 2 * layer + 1);
        constants += &format!(
            "  @{qkv} : f32[{columns},{wide}] \"qkv.{layer}\" = synthetic normal(std=0.2, seed={qkv})\n  \
             @{out} : f32[{columns},{columns}] \"o.{layer}\" = synthetic normal(std=0.2, seed={out})\n"
        );
    }
    let mut nodes = format!("  %0 : f32[1,{rows},{columns}] = input \"x\"\n");
    for layer in 0..count {
        let (x, at) = (6 * layer, 6 * layer + 1);
        let weights = if shared { 0 } else { 2 * layer };
        nodes += &format!("  %{at} : f32[1,{rows},{wide}] = matmul %{x}, @{weights}\n");
        for (part, start) in [0, columns, double].into_iter().enumerate() {
            let own = at + 1 + part;
            nodes += &format!(
                "  %{own} : f32[1,{rows},{columns}] = slice %{at} start=[0,0,{start}] count=[1,{rows},{columns}]\n"
            );
        }
        let [q, k, v, attention, out] = [1, 2, 3, 4, 5].map(|offset| at + offset);
        let weights = weights + 1;
        nodes += &format!(
            "  %{attention} : f32[1,{rows},{columns}] = attention %{q}, %{k}, %{v} heads=1 kv_heads=1 scale=0.25\n  \
             %{out} : f32[1,{rows},{columns}] = matmul %{attention}, @{weights}, %{x} residual\n"
        );
    }
    format!(
        "graph \"layers\"\n{constants}{nodes}  output %{} \"y\"\n",
        6 * count
    )
}

/// Bytes of the stored weights of a product with so many results.
fn weights(compiled: &Compiled, results: usize) -> u64 {
    let of = |stored: &&Stored| matches!(&stored.form, Form::Channels { channels, .. } if *channels == results);
    compiled
        .plan
        .layout
        .stored
        .iter()
        .find(of)
        .expect("a product")
        .bytes
}

fn compiled(text: &str) -> Compiled {
    let graph = packwright_ir::text::parse(text).unwrap_or_else(|e| panic!("{e:?}"));
    compile(graph, &target("e2", &[]), &CompileOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// A term of the bound for `sram` bytes.
fn term(compiled: &Compiled, name: &str, sram: u64) -> u64 {
    let mut target = target("e2", &[]);
    target.sram.bytes = sram;
    let plan = &compiled.plan;
    let bound = bound(&compiled.graph, &target, &plan.storage, &plan.layout);
    let term = bound.terms.iter().find(|(found, _)| found == name);
    term.unwrap_or_else(|| panic!("{name}")).1
}

#[test]
fn no_schedule_moves_less_at_a_barrier() {
    let mut positive = 0;
    for (rows, columns, parts) in [(12, 2, 1), (10, 2, 2), (5, 4, 2), (8, 4, 1)] {
        let compiled = compiled(&layers(2, rows, columns, false));
        let output = weights(&compiled, columns);
        let row = 2 * columns as u64;
        let game = |sram: u64| Barrier {
            rows,
            parts,
            row,
            weights: output / parts as u64,
            sram,
        };
        let free = game(u64::MAX).least().expect("everything fits");
        for sram in 0..=output + rows as u64 * row {
            let Some(least) = game(sram).least() else {
                continue;
            };
            let live = term(&compiled, "live state", sram);
            positive += usize::from(live > 0);
            assert!(
                least >= free + live,
                "{rows} rows of {columns} in {sram} bytes: {least} bytes, the bound says {free} + {live}"
            );
        }
    }
    assert!(positive > 0, "rows stay in all cases");
}

#[test]
fn no_schedule_moves_less_of_shared_weights() {
    let mut tight = 0;
    for count in [2, 3] {
        let columns = 4;
        let compiled = compiled(&layers(count, 3, columns, true));
        let output = weights(&compiled, columns);
        let part = output / 2;
        let game = |sram: u64| Shared {
            layers: count,
            projections: 6,
            outputs: 2,
            part,
            sram,
        };
        assert_eq!(weights(&compiled, 3 * columns), 6 * part);
        for sram in part..=8 * part {
            let least = game(sram).least().expect("a part fits");
            let bound = 8 * part + term(&compiled, "shared weights", sram);
            assert!(
                least >= bound,
                "{count} layers in {sram} bytes: {least} bytes, the bound says {bound}"
            );
            tight += usize::from(sram < 8 * part && least == bound);
        }
    }
    assert!(tight > 0, "nothing comes near the bound");
}

#[test]
fn parts_of_a_model_take_turns() {
    let compiled = compiled(&layers(2, 48, 32, false));
    let seconds = |settings: &[&str]| {
        let target = target("e2", settings);
        let plan = &compiled.plan;
        let bound = bound(&compiled.graph, &target, &plan.storage, &plan.layout);
        (bound.seconds, bound.attainable_seconds)
    };
    let (slow_lanes, fast_lanes) = ("vector.lanes=1", "vector.lanes=65536");
    // Where one unit outlasts the other in every part, it alone counts.
    let (matrix, in_turn) = seconds(&["matrix.rows=1", "matrix.columns=1", fast_lanes]);
    assert!(
        (in_turn / matrix - 1.0).abs() < 0.01,
        "{in_turn} for {matrix} of matrix work"
    );
    let (vector, in_turn) = seconds(&[slow_lanes]);
    assert!(
        (in_turn / vector - 1.0).abs() < 0.01,
        "{in_turn} for {vector} of vector work"
    );
    // As much work for both, most of that of the lanes in attention: part of it has no products beside it.
    let rows = (matrix / vector).round();
    let (least, in_turn) = seconds(&[
        &format!("matrix.rows={rows}"),
        "matrix.columns=1",
        slow_lanes,
    ]);
    assert!(
        least * 1.05 < in_turn && in_turn < least + vector,
        "{in_turn} in turn, {least} at the least"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A simulation fails where it moves less or takes less time than its bound.
    #[test]
    fn no_plan_beats_its_bound(
        count in 1usize..4,
        rows in 1usize..48,
        columns in (1usize..8).prop_map(|eights| 8 * eights),
        shared in any::<bool>(),
        kib in 3u64..64,
    ) {
        let text = layers(count, rows, columns, shared);
        let e2 = target("e2", &[&format!("sram.bytes={kib}KiB")]);
        for mode in [PlanMode::Best, PlanMode::Least, PlanMode::Fast, PlanMode::FusedOps, PlanMode::LayerWise] {
            let graph = packwright_ir::text::parse(&text).expect("the graph is sound");
            let plan = PlanOptions { mode, ..PlanOptions::default() };
            let options = CompileOptions { plan, ..CompileOptions::default() };
            let compiled = match compile(graph, &e2, &options) {
                Ok(compiled) => compiled,
                Err(problems) => {
                    prop_assert!(problems.to_string().contains("sram"), "{}", problems);
                    continue;
                }
            };
            let entry = &compiled.program.entries[0];
            prop_assert!(entry.bound.seconds <= entry.bound.attainable_seconds);
            prop_assert!(entry.bound.dram_bytes <= entry.bound.attainable_dram_bytes);
            let report = simulate(&compiled.program, entry, &e2, &Options::default());
            prop_assert!(report.is_ok(), "{mode:?}: {:?}", report.err());
            let mut before = u64::MAX;
            for sram in (0..20).map(|doublings| 1 << doublings) {
                let mut other = e2.clone();
                other.sram.bytes = sram;
                let plan = &compiled.plan;
                let bound = bound(&compiled.graph, &other, &plan.storage, &plan.layout).dram_bytes;
                prop_assert!(bound <= before, "{bound} in {sram} bytes, {before} in half of them");
                before = bound;
            }
        }
    }
}

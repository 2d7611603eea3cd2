//! Bounds on DRAM traffic against every schedule of small machines: nobody beats them.
//!
//! What an exhaustive search may do is more than any machine can: products take no time and no room but for their
//! operands and results, keys, values and partial sums take no room at all, rows of earlier layers are there again
//! for nothing. The least that it moves is at least what the bound says.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use packwright_compile::bound::bound;
use packwright_compile::compile::{Compiled, compile};
use packwright_compile::options::CompileOptions;
use packwright_compile::plan::constants::{Form, Stored};
use packwright_tests::way::target;

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
            .map(|row| [self.sum(state, row), bit(state.stored, row), bit(state.seen, row)])
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
            let bytes = if weights >> part & 1 == 0 { 0 } else { self.weights };
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

/// Two attentions of `rows` rows of `columns` columns; what lies between them is the first one's output product.
fn two_attentions(rows: usize, columns: usize) -> String {
    let (wide, r, c) = (3 * columns, rows, columns);
    format!(
        r#"
graph "two attentions"
  @0 : f32[{c},{wide}] "qkv.0" = synthetic normal(std=0.2, seed=1)
  @1 : f32[{c},{c}] "o.0" = synthetic normal(std=0.2, seed=2)
  @2 : f32[{c},{wide}] "qkv.1" = synthetic normal(std=0.2, seed=3)
  @3 : f32[{c},{c}] "o.1" = synthetic normal(std=0.2, seed=4)
  %0 : f32[1,{r},{c}] = input "x"
  %1 : f32[1,{r},{wide}] = matmul %0, @0
  %2 : f32[1,{r},{c}] = slice %1 start=[0,0,0] count=[1,{r},{c}]
  %3 : f32[1,{r},{c}] = slice %1 start=[0,0,{c}] count=[1,{r},{c}]
  %4 : f32[1,{r},{c}] = slice %1 start=[0,0,{two}] count=[1,{r},{c}]
  %5 : f32[1,{r},{c}] = attention %2, %3, %4 heads=1 kv_heads=1 scale=0.25
  %6 : f32[1,{r},{c}] = matmul %5, @1, %0 residual
  %7 : f32[1,{r},{wide}] = matmul %6, @2
  %8 : f32[1,{r},{c}] = slice %7 start=[0,0,0] count=[1,{r},{c}]
  %9 : f32[1,{r},{c}] = slice %7 start=[0,0,{c}] count=[1,{r},{c}]
  %10 : f32[1,{r},{c}] = slice %7 start=[0,0,{two}] count=[1,{r},{c}]
  %11 : f32[1,{r},{c}] = attention %8, %9, %10 heads=1 kv_heads=1 scale=0.25
  %12 : f32[1,{r},{c}] = matmul %11, @3, %6 residual
  output %12 "y"
"#,
        two = 2 * columns
    )
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
    let (mut positive, mut tight) = (0, 0);
    for (rows, columns, parts) in [(3, 2, 1), (6, 2, 1), (4, 2, 2), (5, 4, 2)] {
        let compiled = compiled(&two_attentions(rows, columns));
        let square = |stored: &&Stored| {
            matches!(&stored.form, Form::Channels { channels, .. } if *channels == columns)
        };
        let output = compiled.plan.layout.stored.iter().find(square);
        let output = output.expect("an output product").bytes;
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
            tight += usize::from(live > 0 && least == free + live);
            assert!(
                least >= free + live,
                "{rows} rows of {columns} in {sram} bytes: {least} bytes, the bound says {free} + {live}"
            );
        }
    }
    println!("{positive} {tight}");
    assert!(positive > 0, "{positive} cases where rows do not stay, {tight} of them tight");
}

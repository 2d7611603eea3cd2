//! Search: what to cut and what to spill so that a graph fits into a budget of SRAM.
//!
//! Once it is known which values stay in SRAM from one segment to the next, segments no longer depend on
//! each other, but for the room that the ring of constants takes: each class of segments takes the
//! cheapest [`Form`] (row blocks, passes over columns, constants that stay, the size of weight tiles) that
//! fits beside what stays. So all forms of a class are listed once, and the search runs over what is spilled:
//! families of values are spilled or kept, one or two at a time, as long as that is cheaper.
//!
//! The price of a choice is the DRAM bytes that it moves, with those of its packets, and a part of the bytes
//! that DRAM could move while units are at work: tiles of few columns and blocks of few rows leave
//! much of an array idle. How large a part depends on who outlasts whom, so several searches are made.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use rayon::prelude::*;

use super::catalogue::{Catalogue, Listing};
use super::classes::Classes;
use super::demand::{Scene, Use};
use super::extra::{EXTRAS, Extra};
use super::form::{self, Form, Price};
use super::offer::{self, Demand, Members, Offer};
use super::stage::Stage;
use super::storage::RootId;
use super::too_small::TooSmall;
use super::{Buffer, Passes, Segment, buffers, cost, pace, place};

/// Everything that a search looks at and does not change.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    pub scene: &'a Scene<'a>,
    pub segments: &'a [Segment],
    pub uses: &'a IndexMap<RootId, Use>,
    pub classes: &'a Classes,
    /// Whether every value goes through DRAM that can.
    pub through_dram: bool,
}

/// Cuts and spills.
#[derive(Clone, Debug)]
pub struct Choice {
    pub segments: Vec<Segment>,
    pub spilled: IndexSet<RootId>,
}

/// A choice with its buffers placed.
#[derive(Clone, Debug)]
pub struct Fitting {
    pub choice: Choice,
    pub buffers: Vec<Buffer>,
    /// End of the highest buffer that each segment sees: what lies above is for constants.
    pub tops: Vec<u64>,
    /// DRAM bytes, as [`cost::traffic`] counts them.
    pub traffic: u64,
    /// What it costs.
    pub price: Price,
    /// Whether nothing is cut or spilled and tiles are as wide as they may be: nothing is cheaper.
    pub uncut: bool,
}

/// Members of a class whose values look alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    looks: Vec<Look>,
    /// The most bytes that pass by one of them.
    passing: u64,
    count: usize,
}

/// A segment and the values that it sees.
#[derive(Clone, Debug, Default)]
struct Sight {
    class: usize,
    /// Values that it makes or reads.
    touched: Vec<RootId>,
    /// Values made before it and read behind it only.
    passing: Vec<RootId>,
}

/// How a value looks from a segment, as far as buffers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Look {
    spilled: bool,
    made_here: bool,
    read_later: bool,
    output: bool,
}

/// A choice of forms for some spilled values.
#[derive(Clone, Debug)]
struct Selection {
    /// The form of each class.
    forms: Vec<usize>,
    /// What all of them cost.
    weight: u64,
}

/// A search at work.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    problem: Problem<'a>,
    /// Bytes of SRAM that a choice may use; constants that several nodes read may stay in the rest.
    budget: u64,
    /// What a cycle may be worth, in bytes, and which of that it is worth now.
    cycles: Vec<f64>,
    worth: usize,
    starts: Vec<usize>,
    sights: Vec<Sight>,
    /// The ways of cutting the columns of each segment, by the number of passes.
    passes: Vec<IndexMap<usize, Passes>>,
    /// The forms of each class.
    listings: Vec<Arc<Listing>>,
    /// Families of values that can be spilled.
    families: Vec<Vec<RootId>>,
    /// What the cuts of a class take, by how the values of a segment look.
    known: IndexMap<(usize, Vec<Look>), Vec<Demand>>,
    /// The families whose values the segments of each class see.
    seen: Vec<Vec<usize>>,
    /// The forms of a class that are worth a look for each worth of a cycle, by which of the families that it sees are
    /// spilled.
    offers: IndexMap<(usize, Vec<bool>), Vec<Vec<Offer>>>,
}

/// Most attempts at a placement.
const MOST_ATTEMPTS: usize = 12;

/// Bytes by which the room for gaps grows from one attempt to the next, at the least.
const ALIGNMENT: u64 = 256;

impl<'a> Search<'a> {
    /// A search within all of SRAM that has yet to list what can be done; `worths` are what a byte may be worth that DRAM
    /// could move while units are at work.
    pub fn new(problem: Problem<'a>, worths: &[f64]) -> Self {
        let peak = problem.scene.target.peak_bytes_per_cycle();
        let mut search = Self {
            problem,
            budget: problem.scene.target.sram.bytes,
            cycles: worths.iter().map(|worth| worth * peak).collect(),
            worth: 0,
            starts: buffers::starts(problem.segments),
            sights: sights(&problem),
            passes: Vec::new(),
            listings: Vec::new(),
            families: Vec::new(),
            known: IndexMap::new(),
            seen: Vec::new(),
            offers: IndexMap::new(),
        };
        for family in problem.classes.families() {
            let able: Vec<RootId> = family
                .iter()
                .copied()
                .filter(|&root| search.can_spill(root))
                .collect();
            if !able.is_empty() {
                search.families.push(able);
            }
        }
        search.seen = search.families_of_classes();
        search
    }

    /// Chooses one of what a byte may be worth.
    pub fn weigh(&mut self, worth: usize) {
        self.worth = worth;
    }

    /// How many worths there are to choose from.
    pub fn worths(&self) -> usize {
        self.cycles.len()
    }

    pub fn scene(&self) -> &'a Scene<'a> {
        self.problem.scene
    }

    /// Bytes of SRAM that a choice may use.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Sets what a choice may use of SRAM.
    pub fn within(&mut self, budget: u64) {
        self.budget = budget;
        self.offers.clear();
    }

    fn families_of_classes(&self) -> Vec<Vec<usize>> {
        let families = self.families.iter().enumerate();
        let family_of: HashMap<RootId, usize> = families
            .flat_map(|(family, roots)| roots.iter().map(move |&root| (root, family)))
            .collect();
        let mut seen = vec![IndexSet::new(); self.problem.classes.count()];
        for sight in &self.sights {
            let roots = sight.touched.iter().chain(&sight.passing);
            seen[sight.class].extend(roots.filter_map(|root| family_of.get(root).copied()));
        }
        seen.into_iter()
            .map(IndexSet::into_iter)
            .map(Iterator::collect)
            .collect()
    }

    /// Lists the forms of all classes.
    pub fn list(&mut self, catalogue: &Catalogue) {
        let Problem {
            scene,
            segments,
            classes,
            ..
        } = self.problem;
        self.passes = vec![IndexMap::new(); segments.len()];
        self.listings.clear();
        for class in 0..classes.count() {
            let members = classes.members(class);
            let listing = catalogue.of(scene, &segments[members[0]]);
            for &s in members {
                self.passes[s] = form::passes(scene, &segments[s], &listing.counts);
            }
            self.listings.push(listing);
        }
    }

    /// The choice that moves the fewest bytes, with its buffers placed; the ring gets `slack` bytes more
    /// than its tiles take.
    ///
    /// # Errors
    /// What the smallest fragments need, when nothing fits.
    pub fn fit(&mut self, slack: u64) -> Result<Fitting, TooSmall> {
        if let Some(fitting) = self.uncut(slack) {
            return Ok(fitting);
        }
        if self.listings.is_empty() {
            self.list(&Catalogue::default());
        }
        let mut gaps = slack;
        let mut start: Vec<bool> = vec![true; self.families.len()];
        for _ in 0..MOST_ATTEMPTS {
            let Some((spilled, selection)) = self.best(&start, gaps) else {
                return Err(self.too_small());
            };
            match self.place(self.choice(&spilled, &selection), slack) {
                Ok(fitting) => return Ok(fitting),
                // What placement loses to gaps between buffers.
                Err(lost) => gaps = (gaps + ALIGNMENT).max(slack + lost),
            }
            start = spilled;
        }
        Err(self.too_small())
    }

    /// Gives away what SRAM has left, class by class of segments.
    pub fn with_room_left(&self, mut fitting: Fitting, slack: u64) -> Fitting {
        let scene = self.problem.scene;
        let top = |fitting: &Fitting| fitting.tops.iter().copied().max().unwrap_or(0);
        // Constants that stay take room from all segments alike; those that come ahead of their use need some.
        let ahead = match scene.layout.is_shared() {
            false => self.budget - self.budget / 8,
            true => 0,
        };
        for (extra, members) in EXTRAS
            .into_iter()
            .flat_map(|extra| self.alike(extra).into_iter().map(move |all| (extra, all)))
        {
            // The highest address that it may take, and the cycles that are too many with it.
            let (most, cycles) = match extra {
                Extra::Wide | Extra::Tiles(_) => (u64::MAX, fitting.price.cycles),
                Extra::Copies(_) => (u64::MAX, u64::MAX),
                Extra::Spilled | Extra::All | Extra::Passes | Extra::Wave => (ahead, u64::MAX),
            };
            let mut choice = fitting.choice.clone();
            let mut changed = false;
            for s in members {
                changed |= extra.give(scene, &mut choice.segments[s]);
            }
            if changed
                && let Ok(better) = self.place(choice, slack)
                && top(&better) <= most.max(top(&fitting))
                && better.price.cycles < cycles
            {
                fitting = Fitting {
                    uncut: fitting.uncut,
                    ..better
                };
            }
        }
        fitting
    }

    /// Segments that get something together: those of a class, and for waves of those with alike segments before them.
    fn alike(&self, extra: Extra) -> Vec<Vec<usize>> {
        let classes = self.problem.classes;
        let mut groups: IndexMap<(usize, Option<usize>), Vec<usize>> = IndexMap::new();
        for s in 0..self.problem.segments.len() {
            let before = match extra {
                Extra::Wave => s.checked_sub(1).map(|before| classes.class(before)),
                Extra::Wide
                | Extra::Tiles(_)
                | Extra::Copies(_)
                | Extra::Spilled
                | Extra::All
                | Extra::Passes => None,
            };
            groups
                .entry((classes.class(s), before))
                .or_default()
                .push(s);
        }
        groups.into_values().collect()
    }

    /// Everything whole, nothing spilled and the widest tiles, where that fits: nothing is cheaper.
    pub fn uncut(&self, slack: u64) -> Option<Fitting> {
        if self.problem.through_dram {
            return None;
        }
        let mut segments = self.problem.segments.to_vec();
        for segment in &mut segments {
            segment.tile_bytes = form::tile_bytes(self.problem.scene, 0);
            segment.portions.copies = form::most_copies(self.problem.scene);
        }
        let choice = Choice {
            segments,
            spilled: IndexSet::new(),
        };
        let fitting = self.place(choice, slack).ok()?;
        Some(Fitting {
            uncut: true,
            ..fitting
        })
    }

    /// Places the buffers of a choice.
    ///
    /// # Errors
    /// The bytes that gaps between buffers take, when the ring does not fit behind them.
    fn place(&self, choice: Choice, slack: u64) -> Result<Fitting, u64> {
        let (scene, uses) = (self.problem.scene, self.problem.uses);
        let mut buffers = buffers::buffers(scene, &choice.segments, uses, &choice.spilled);
        let alignment = u64::from(scene.target.sram.alignment);
        let rings = choice.segments.iter().flat_map(|segment| {
            let ring = form::ring_need(scene, segment);
            std::iter::repeat_n(ring, segment.stages.len())
        });
        let rings: Vec<u64> = rings.collect();
        let least = place::peak_with(&buffers, alignment, &rings);
        let end = place::place(&mut buffers, alignment, &rings);
        if end + slack > self.budget {
            return Err(end - least);
        }
        let traffic = cost::traffic(scene, &choice.segments, uses, &choice.spilled);
        let segments = choice.segments.iter();
        let packets: u64 = segments.clone().map(|s| form::packets(scene, s)).sum();
        let tops = self.tops(&buffers);
        let cycles = segments.zip(&self.sights).enumerate();
        let cycles = cycles.map(|(s, (segment, sight))| {
            let at = (segment, s);
            let exchange = cost::exchange(scene, at, &sight.touched, uses, &choice.spilled);
            let units = pace::cycles(scene, segment) + pace::waits(scene, exchange);
            // What has no room beside the segment before comes when it is its turn.
            let constants = segment.visits() * cost::constants(scene, segment);
            let bytes = constants + exchange.fills + exchange.spills;
            let room = scene.target.sram.bytes - tops[s.saturating_sub(1)].max(tops[s]);
            let drained = form::drained(scene, segment);
            let transfers = drained + bytes.saturating_sub(room);
            form::beside(scene, segment, units, (drained, transfers))
        });
        let cycles = cycles.sum();
        Ok(Fitting {
            traffic,
            price: Price {
                bytes: traffic + packets,
                cycles,
            },
            tops,
            choice,
            buffers,
            uncut: false,
        })
    }

    /// The best of what can be spilled, from all of it and from nothing on.
    fn best(&mut self, start: &[bool], gaps: u64) -> Option<(Vec<bool>, Selection)> {
        let all = vec![true; self.families.len()];
        if self.problem.through_dram {
            return self.select(&all, gaps).map(|selection| (all, selection));
        }
        let none = vec![false; self.families.len()];
        let mut best: Option<(Vec<bool>, Selection)> = None;
        for from in [none.as_slice(), start, all.as_slice()] {
            let Some(selection) = self.select(from, gaps) else {
                continue;
            };
            let found = self.climb(from.to_vec(), selection, gaps);
            if best
                .as_ref()
                .is_none_or(|(_, known)| found.1.weight < known.weight)
            {
                best = Some(found);
            }
        }
        best
    }

    /// Turns one or two families over as long as that helps.
    fn climb(
        &mut self,
        mut spilled: Vec<bool>,
        mut selection: Selection,
        gaps: u64,
    ) -> (Vec<bool>, Selection) {
        let count = spilled.len();
        loop {
            let mut better: Option<(Vec<bool>, Selection)> = None;
            let pairs = (0..count).flat_map(|a| (a..count).map(move |b| (a, b)));
            for (a, b) in pairs {
                let mut next = spilled.clone();
                next[a] = !next[a];
                if a != b {
                    next[b] = !next[b];
                }
                let Some(found) = self.select(&next, gaps) else {
                    continue;
                };
                let known = better.as_ref().map_or(selection.weight, |(_, s)| s.weight);
                if found.weight < known {
                    better = Some((next, found));
                }
            }
            match better {
                Some((next, found)) => (spilled, selection) = (next, found),
                None => return (spilled, selection),
            }
        }
    }

    /// The cheapest forms that fit beside what is not spilled.
    fn select(&mut self, spilled: &[bool], gaps: u64) -> Option<Selection> {
        let room = self.budget.checked_sub(gaps)?;
        let families = self.families.iter().zip(spilled).filter(|(_, is)| **is);
        let written = families.flat_map(|(family, _)| family);
        let mut price = Price {
            bytes: written.map(|&root| self.bytes(root)).sum(),
            cycles: 0,
        };
        let mut set = None;
        let mut forms = Vec::with_capacity(self.listings.len());
        for class in 0..self.listings.len() {
            let seen = self.seen[class].iter().map(|&family| spilled[family]);
            let key = (class, seen.collect());
            if !self.offers.contains_key(&key) {
                let set = set.get_or_insert_with(|| self.spilled(spilled));
                let groups = self.groups(class, set);
                let offers = self.offers_of(class, &groups, set);
                self.offers.insert(key.clone(), offers);
            }
            let offers = self.offers[&key][self.worth].iter();
            let fitting = offers.filter(|offer| offer.room <= room);
            let offer = fitting.min_by_key(|offer| offer.weight)?;
            forms.push(offer.form);
            price = price.plus(offer.price, 1);
        }
        Some(Selection {
            forms,
            weight: price.weight(self.cycles[self.worth]),
        })
    }

    /// End of the highest buffer that each segment sees.
    fn tops(&self, buffers: &[Buffer]) -> Vec<u64> {
        let segments = self.problem.segments.iter();
        let spans = self.starts.iter().zip(segments);
        let top = |(&start, segment): (&usize, &Segment)| {
            let end = start + segment.stages.len();
            let seen = buffers
                .iter()
                .filter(|b| b.life.start < end && start < b.life.end);
            seen.map(|b| b.addr + b.bytes).max().unwrap_or(0)
        };
        spans.map(top).collect()
    }

    /// The forms of a class that no other one beats in everything, for each worth of a cycle.
    fn offers_of(
        &mut self,
        class: usize,
        groups: &[Group],
        spilled: &IndexSet<RootId>,
    ) -> Vec<Vec<Offer>> {
        for group in groups {
            self.learn(class, &group.looks, spilled);
        }
        let members = groups.iter().map(|group| Members {
            demands: &self.known[&(class, group.looks.clone())],
            passing: group.passing,
            count: group.count as u64,
        });
        let members: Vec<Members<'_>> = members.collect();
        let first = self.problem.classes.members(class)[0];
        let segment = &self.problem.segments[first];
        let kept = form::kept(self.problem.scene, segment, self.left());
        let forms = &self.listings[class].forms;
        let offers = offer::offers(forms, &members, kept);
        let cycles = self.cycles.iter();
        let worth = cycles.map(|&cycle| offer::worth_a_look(&offers, cycle, self.budget));
        worth.collect()
    }

    /// The members of a class by how their values look.
    fn groups(&self, class: usize, spilled: &IndexSet<RootId>) -> Vec<Group> {
        let mut groups: IndexMap<Vec<Look>, (u64, usize)> = IndexMap::new();
        for &s in self.problem.classes.members(class) {
            let passing = self.sights[s].passing.iter();
            let bytes: u64 = passing
                .filter(|&root| !spilled.contains(root))
                .map(|&root| self.bytes(root))
                .sum();
            let entry = groups.entry(self.looks(s, spilled)).or_default();
            *entry = (entry.0.max(bytes), entry.1 + 1);
        }
        groups
            .into_iter()
            .map(|(looks, (passing, count))| Group {
                looks,
                passing,
                count,
            })
            .collect()
    }

    fn looks(&self, s: usize, spilled: &IndexSet<RootId>) -> Vec<Look> {
        let touched = self.sights[s].touched.iter();
        touched
            .map(|root| {
                let using = &self.problem.uses[root];
                Look {
                    spilled: spilled.contains(root),
                    made_here: using.made.0 == s,
                    read_later: using.read.iter().any(|&(reader, _)| reader > s),
                    output: using.output,
                }
            })
            .collect()
    }

    /// Finds what all cuts of a class take for one look at their values.
    fn learn(&mut self, class: usize, looks: &[Look], spilled: &IndexSet<RootId>) {
        let key = (class, looks.to_vec());
        if self.known.contains_key(&key) {
            return;
        }
        let members = self.problem.classes.members(class);
        let like = |&&s: &&usize| self.looks(s, spilled) == looks;
        let Some(&s) = members.iter().find(like) else {
            return;
        };
        let alignment = u64::from(self.problem.scene.target.sram.alignment);
        let touched = &self.sights[s].touched;
        let (first, count) = (self.starts[s], self.problem.segments[s].stages.len());
        let forms = &self.listings[class].forms;
        let of_cuts: Vec<&Form> = forms
            .chunk_by(|a, b| a.cut == b.cut)
            .map(|of| &of[0])
            .collect();
        let demand = |segments: &mut Vec<Segment>, form: &&Form| {
            self.apply(form, s, segments);
            let mut buffers = buffers::of_segment(
                self.problem.scene,
                segments,
                &self.starts,
                (s, touched),
                self.problem.uses,
                spilled,
            );
            for buffer in &mut buffers {
                let at = |step: usize| step.saturating_sub(first).min(count);
                buffer.life = at(buffer.life.start)..at(buffer.life.end);
            }
            let mut live = place::live(&buffers, alignment);
            live.resize(count, 0);
            let exchange = cost::exchange(
                self.problem.scene,
                (&segments[s], s),
                touched,
                self.problem.uses,
                spilled,
            );
            let exchange = Price {
                bytes: exchange.fills,
                cycles: pace::waits(self.problem.scene, exchange),
            };
            Demand { live, exchange }
        };
        let cuts = of_cuts.par_iter();
        let demands = cuts.map_init(|| self.problem.segments.to_vec(), demand);
        let table: Vec<Demand> = demands.collect();
        self.known.insert(key, table);
    }

    fn apply(&self, form: &Form, s: usize, segments: &mut [Segment]) {
        let segment = &mut segments[s];
        segment.block_rows = form.block_rows;
        segment.resident = form.resident;
        segment.passes = self.passes[s]
            .get(&form.passes)
            .cloned()
            .unwrap_or_default();
        segment.tile_bytes = form.tile_bytes;
        segment.portions = form.portions;
        segment.alternates = form.alternates;
    }

    /// Bytes of SRAM beside the budget.
    fn left(&self) -> u64 {
        self.problem.scene.target.sram.bytes - self.budget
    }

    fn bytes(&self, root: RootId) -> u64 {
        cost::spilled_bytes(self.problem.scene, root)
    }

    fn spilled(&self, families: &[bool]) -> IndexSet<RootId> {
        let chosen = self.families.iter().zip(families).filter(|(_, on)| **on);
        chosen
            .flat_map(|(family, _)| family.iter().copied())
            .collect()
    }

    fn choice(&self, spilled: &[bool], selection: &Selection) -> Choice {
        let mut segments = self.problem.segments.to_vec();
        for (s, sight) in self.sights.iter().enumerate() {
            let form = &self.listings[sight.class].forms[selection.forms[sight.class]];
            self.apply(form, s, &mut segments);
        }
        Choice {
            segments,
            spilled: self.spilled(spilled),
        }
    }

    /// Whether a value can be spilled: others than its maker's segment read it, and every reader takes
    /// the same rows that it makes, or all of them in another segment.
    fn can_spill(&self, root: RootId) -> bool {
        let using = &self.problem.uses[&root];
        let segments = self.problem.segments;
        let rows = self.problem.scene.storage.root(root).rows;
        let (home, maker) = using.made;
        let at_once = matches!(segments[home].stages[maker], Stage::Whole { .. });
        using.crosses()
            && (rows == segments[home].rows || at_once)
            && using
                .read
                .iter()
                .all(|&(s, i)| match segments[s].stages[i] {
                    Stage::Whole { .. } | Stage::Input { .. } | Stage::CachedAttention { .. } => {
                        false
                    }
                    Stage::Attention { .. } => s != home,
                    Stage::Matmul { .. } | Stage::Rows { .. } => segments[s].rows == rows,
                })
    }

    /// What the smallest fragments need, with everything spilled.
    fn too_small(&mut self) -> TooSmall {
        let all = vec![true; self.families.len()];
        let set = self.spilled(&all);
        let mut found = TooSmall { need: 0, at: None };
        for class in 0..self.listings.len() {
            let groups = self.groups(class, &set);
            let offers = self.offers_of(class, &groups, &set);
            let Some(least) = offers.iter().flatten().min_by_key(|offer| offer.room) else {
                continue;
            };
            if least.room > found.need {
                let form = &self.listings[class].forms[least.form];
                let lives = groups.iter().map(|group| {
                    let known = &self.known[&(class, group.looks.clone())];
                    &known[form.cut].live
                });
                let steps = lives.flat_map(|live| live.iter().zip(&form.scratch).enumerate());
                let widest = steps.max_by_key(|(_, (live, scratch))| *live + *scratch);
                let segment = self.problem.classes.members(class)[0];
                let stages = &self.problem.segments[segment].stages;
                let stage = widest.and_then(|(stage, _)| stages.get(stage));
                found = TooSmall {
                    need: least.room,
                    at: stage.and_then(|stage| stage.nodes().first().copied()),
                };
            }
        }
        found
    }
}

/// What each segment sees.
fn sights(problem: &Problem<'_>) -> Vec<Sight> {
    let (graph, storage) = (problem.scene.graph, problem.scene.storage);
    let mut sights: Vec<Sight> = Vec::new();
    for (s, segment) in problem.segments.iter().enumerate() {
        let mut touched: IndexSet<RootId> = IndexSet::new();
        for node in segment.stages.iter().flat_map(Stage::nodes) {
            let read = graph.operands(node).into_iter();
            touched.extend(read.filter_map(|v| Some(storage.place(v)?.root)));
            touched.extend(storage.root_of(node));
        }
        touched.retain(|root| problem.uses.contains_key(root));
        sights.push(Sight {
            class: problem.classes.class(s),
            touched: touched.into_iter().collect(),
            passing: Vec::new(),
        });
    }
    for (&root, using) in problem.uses {
        let last = using.read.iter().map(|&(s, _)| s).max().unwrap_or(0);
        for sight in sights.iter_mut().take(last).skip(using.made.0 + 1) {
            if !sight.touched.contains(&root) {
                sight.passing.push(root);
            }
        }
    }
    sights
}

//! Offers: the forms of a class with what they take beside the values that stay, and which of them are worth a look.

use super::form::{Form, Price};

/// What a cut takes where certain values are spilled.
#[derive(Clone, Debug)]
pub struct Demand {
    /// Bytes that are alive at each stage, without scratch.
    pub live: Vec<u64>,
    /// What values that come in and go out cost.
    pub exchange: Price,
}

/// Members of a class for which a form takes the same.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// What each cut takes.
    pub demands: &'a [Demand],
    /// The most bytes that pass by one of them.
    pub passing: u64,
    pub count: u64,
}

/// A form with what it takes for all members of a class.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    pub form: usize,
    /// Bytes of buffers, and of the tiles beside them.
    pub room: u64,
    pub price: Price,
    pub weight: u64,
}

/// What all forms of a class take for its members, of whose constants so many bytes stay in SRAM; not weighed yet.
pub fn offers(forms: &[Form], members: &[Members<'_>], kept: u64) -> Vec<Offer> {
    let of_form = |(index, form): (usize, &Form)| {
        let mut offer = Offer {
            form: index,
            room: 0,
            price: Price::default(),
            weight: 0,
        };
        for alike in members {
            let demand = &alike.demands[form.cut];
            let steps = demand.live.iter().zip(&form.scratch);
            let live = steps.map(|(live, scratch)| live + scratch).max();
            let live = live.unwrap_or(0) + alike.passing;
            offer.room = offer.room.max(live + form.ring);
            let each = form.price.plus(demand.exchange, 1);
            let stay = form.visits * kept * alike.count;
            offer.price = offer.price.plus(each, alike.count);
            offer.price.bytes = offer.price.bytes.saturating_sub(stay);
        }
        offer
    };
    forms.iter().enumerate().map(of_form).collect()
}

/// Steps of room by which offers are compared first.
const STEPS: u64 = 64;

/// Offers that no other one beats in everything, where a cycle is worth so many bytes.
pub fn worth_a_look(offers: &[Offer], cycle: f64, budget: u64) -> Vec<Offer> {
    let step = |offer: &Offer| (offer.room / (budget / STEPS).max(1)).min(STEPS) as usize;
    let weighed = offers.iter().map(|offer| Offer {
        weight: offer.price.weight(cycle),
        ..*offer
    });
    let mut lightest = [u64::MAX; STEPS as usize + 1];
    for offer in weighed.clone() {
        let known = &mut lightest[step(&offer)];
        *known = offer.weight.min(*known);
    }
    // The lightest of all steps below.
    let mut below = u64::MAX;
    for weight in &mut lightest {
        let own = std::mem::replace(weight, below);
        below = below.min(own);
    }
    let light = weighed.filter(|offer| offer.weight < lightest[step(offer)]);
    let mut offers: Vec<Offer> = light.collect();
    // Those that take more room are worth a look where they weigh less. Of what never fits the smallest says what is
    // missing.
    offers.sort_unstable_by_key(|offer| (offer.room, offer.weight, offer.form));
    let mut lightest = u64::MAX;
    offers.retain(|offer| {
        let first = lightest == u64::MAX;
        let is_better = offer.weight < lightest && (first || offer.room <= budget);
        if is_better {
            lightest = offer.weight;
        }
        is_better
    });
    offers
}

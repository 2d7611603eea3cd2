//! The DRAM regions of an entry: constants and inputs borrowed, the rest owned.

use std::borrow::Cow;
use std::collections::BTreeMap;

use packwright_packet::operand::RegionId;
use packwright_packet::program::{Constants, Entry, Port, Region, RegionKind};

use super::error::{Fault, FuncError};

/// State that outlives a run: the bytes of a region, by its name.
///
/// Regions of kind [`RegionKind::State`] with one name are the same memory in every entry, so they
/// must have the same address and size there.
#[derive(Clone, Debug, Default)]
pub struct State {
    regions: BTreeMap<String, StateRegion>,
}

/// One region of state and where it lies.
#[derive(Clone, Debug)]
struct StateRegion {
    address: u64,
    bytes: Vec<u8>,
}

impl State {
    /// The bytes of the region called `name`, if a run has used it.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.regions.get(name).map(|region| region.bytes.as_slice())
    }

    /// Gives the first bytes of `region`; the rest become zeros.
    pub(super) fn set(&mut self, region: &Region, bytes: &[u8]) -> Result<(), FuncError> {
        let mut whole = zeroed(&region.name, region.bytes)?;
        let place = whole.get_mut(..bytes.len());
        let place = place.ok_or_else(|| FuncError::BadRegion {
            name: region.name.clone(),
            why: "it is smaller than the bytes given for it",
        })?;
        place.copy_from_slice(bytes);
        self.put(region, whole);
        Ok(())
    }

    /// Takes the bytes of `region` out, zeros if no run has used it.
    fn take(&mut self, region: &Region) -> Result<Vec<u8>, FuncError> {
        match self.regions.get(&region.name) {
            None => zeroed(&region.name, region.bytes),
            Some(old)
                if old.address == region.address && old.bytes.len() as u64 == region.bytes =>
            {
                Ok(self
                    .regions
                    .remove(&region.name)
                    .map(|old| old.bytes)
                    .unwrap_or_default())
            }
            Some(_) => Err(FuncError::MovedState {
                name: region.name.clone(),
            }),
        }
    }

    /// Puts the bytes of `region` back.
    fn put(&mut self, region: &Region, bytes: Vec<u8>) {
        let address = region.address;
        self.regions
            .insert(region.name.clone(), StateRegion { address, bytes });
    }
}

/// What a region holds during a run.
#[derive(Debug)]
enum Contents<'a> {
    /// Constants and inputs: borrowed, or copied where an input is shorter than its region.
    Fixed(Cow<'a, [u8]>),
    /// Outputs, spills, state.
    Owned(Vec<u8>),
    /// Nothing that a command could read or write.
    Nothing,
}

/// The regions of an entry during a run.
#[derive(Debug)]
pub(super) struct Dram<'a> {
    regions: &'a [Region],
    contents: Vec<Contents<'a>>,
}

impl<'a> Dram<'a> {
    /// Binds the regions of `entry` to constants, inputs, state and fresh zeros.
    pub(super) fn bind(
        entry: &'a Entry,
        constants: &'a Constants,
        inputs: &[(&str, &'a [u8])],
        state: &mut State,
    ) -> Result<Self, FuncError> {
        let given = match_inputs(entry, inputs)?;
        let mut dram = Self {
            regions: &entry.regions,
            contents: Vec::new(),
        };
        for region in &entry.regions {
            let contents = dram.initial(region, constants, state);
            match contents {
                Ok(contents) => dram.contents.push(contents),
                Err(error) => {
                    dram.release(state);
                    return Err(error);
                }
            }
        }
        for (port, bytes) in given {
            if let Err(error) = dram.fill(port, bytes) {
                dram.release(state);
                return Err(error);
            }
        }
        Ok(dram)
    }

    /// What `region` holds before inputs come.
    fn initial(
        &self,
        region: &Region,
        constants: &'a Constants,
        state: &mut State,
    ) -> Result<Contents<'a>, FuncError> {
        if let Some(offset) = region.constant_offset {
            return Ok(Contents::Fixed(Cow::Borrowed(constant(
                region, offset, constants,
            )?)));
        }
        Ok(match region.kind {
            RegionKind::Output | RegionKind::Spill => {
                Contents::Owned(zeroed(&region.name, region.bytes)?)
            }
            RegionKind::State => Contents::Owned(state.take(region)?),
            RegionKind::Input
            | RegionKind::Weights
            | RegionKind::Embeddings
            | RegionKind::Packets => Contents::Nothing,
        })
    }

    /// Gives an input's bytes to its region.
    fn fill(&mut self, port: &Port, bytes: &'a [u8]) -> Result<(), FuncError> {
        let bad = |why| FuncError::BadPort {
            name: port.name.clone(),
            why,
        };
        let index = usize::from(port.region.0);
        let region = self
            .regions
            .get(index)
            .ok_or_else(|| bad("its region does not exist"))?;
        if bytes.len() as u64 > region.bytes {
            return Err(bad("it is larger than its region"));
        }
        match &mut self.contents[index] {
            Contents::Owned(state) if region.kind == RegionKind::State => {
                state[..bytes.len()].copy_from_slice(bytes);
            }
            nothing @ Contents::Nothing if region.kind == RegionKind::Input => {
                let mut bytes = Cow::Borrowed(bytes);
                if bytes.len() as u64 != region.bytes {
                    let mut padded = zeroed(&region.name, region.bytes)?;
                    padded[..bytes.len()].copy_from_slice(&bytes);
                    bytes = Cow::Owned(padded);
                }
                *nothing = Contents::Fixed(bytes);
            }
            Contents::Fixed(_) | Contents::Owned(_) | Contents::Nothing => {
                return Err(bad("its region cannot take an input, or has one already"));
            }
        }
        Ok(())
    }

    /// Hands state back at the end of a run.
    pub(super) fn release(self, state: &mut State) {
        for (region, contents) in self.regions.iter().zip(self.contents) {
            if let (RegionKind::State, Contents::Owned(bytes)) = (region.kind, contents) {
                state.put(region, bytes);
            }
        }
    }

    /// The bytes of a region, for reading.
    pub(super) fn read(&self, field: &'static str, id: RegionId) -> Result<&[u8], Fault> {
        match self.contents.get(usize::from(id.0)) {
            None => Err(Fault::UnknownRegion {
                field,
                region: id.0,
            }),
            Some(Contents::Fixed(bytes)) => Ok(bytes),
            Some(Contents::Owned(bytes)) => Ok(bytes),
            Some(Contents::Nothing) => Err(Fault::EmptyRegion {
                region: self.name(id),
            }),
        }
    }

    /// The bytes of a region, for writing.
    pub(super) fn write(&mut self, field: &'static str, id: RegionId) -> Result<&mut [u8], Fault> {
        let region = self.name(id);
        match self.contents.get_mut(usize::from(id.0)) {
            None => Err(Fault::UnknownRegion {
                field,
                region: id.0,
            }),
            Some(Contents::Owned(bytes)) => Ok(bytes),
            Some(Contents::Fixed(_) | Contents::Nothing) => Err(Fault::ReadOnlyRegion { region }),
        }
    }

    /// The name of a region, for messages.
    pub(super) fn name(&self, id: RegionId) -> String {
        self.regions
            .get(usize::from(id.0))
            .map(|region| region.name.clone())
            .unwrap_or_default()
    }

    /// The bytes of an output port.
    pub(super) fn output(&self, port: &Port) -> Result<Vec<u8>, FuncError> {
        let bad = |why| FuncError::BadPort {
            name: port.name.clone(),
            why,
        };
        let bytes = port_bytes(port).ok_or_else(|| bad("its shape overflows"))?;
        let region = self
            .read("output", port.region)
            .map_err(|_| bad("its region is empty"))?;
        let bytes = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| region.get(..bytes));
        bytes
            .map(<[u8]>::to_vec)
            .ok_or_else(|| bad("it is larger than its region"))
    }
}

/// The part of the constants section that `region` holds.
fn constant<'a>(
    region: &Region,
    offset: u64,
    constants: &'a Constants,
) -> Result<&'a [u8], FuncError> {
    let bytes = match constants {
        Constants::Present(bytes) => bytes,
        Constants::Absent { .. } if region.bytes == 0 => return Ok(&[]),
        Constants::Absent { bytes } => return Err(FuncError::AbsentConstants { bytes: *bytes }),
    };
    let start = usize::try_from(offset).ok();
    let end = offset
        .checked_add(region.bytes)
        .and_then(|end| usize::try_from(end).ok());
    let range = start
        .zip(end)
        .and_then(|(start, end)| bytes.get(start..end));
    let why = "it lies outside the constants section";
    range.ok_or_else(|| FuncError::BadRegion {
        name: region.name.clone(),
        why,
    })
}

/// Pairs input ports with the bytes given for them, each of the right size.
///
/// A port on state may be left out: the state then stays as it is.
fn match_inputs<'e, 'a>(
    entry: &'e Entry,
    inputs: &[(&str, &'a [u8])],
) -> Result<Vec<(&'e Port, &'a [u8])>, FuncError> {
    let known = |name: &str| entry.inputs.iter().any(|port| port.name == name);
    let unknown: Vec<_> = inputs.iter().filter(|(name, _)| !known(name)).collect();
    if !unknown.is_empty() {
        let names = unknown.iter().map(|(name, _)| (*name).to_owned()).collect();
        let known = entry.inputs.iter().map(|port| port.name.clone()).collect();
        return Err(FuncError::UnknownInputs { names, known });
    }
    let (mut matched, mut missing) = (Vec::new(), Vec::new());
    for port in &entry.inputs {
        let mut values = inputs.iter().filter(|(name, _)| *name == port.name);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => {
                return Err(FuncError::RepeatedInput {
                    name: port.name.clone(),
                });
            }
            (Some((_, bytes)), None) => matched.push((port, sized(port, bytes)?)),
            (None, _) if is_state(entry, port) => {}
            (None, _) => missing.push(port.name.clone()),
        }
    }
    if missing.is_empty() {
        Ok(matched)
    } else {
        Err(FuncError::MissingInputs { names: missing })
    }
}

/// The bytes of an input, if they are as many as its port says.
fn sized<'a>(port: &Port, bytes: &'a [u8]) -> Result<&'a [u8], FuncError> {
    let name = port.name.clone();
    match (port_bytes(port), bytes.len() as u64) {
        (None, _) => Err(FuncError::BadPort {
            name,
            why: "its shape overflows",
        }),
        (Some(expected), actual) if expected == actual => Ok(bytes),
        (Some(expected), actual) => Err(FuncError::InputSize {
            name,
            expected,
            actual,
        }),
    }
}

/// Whether a port lies on state.
fn is_state(entry: &Entry, port: &Port) -> bool {
    let region = entry.regions.get(usize::from(port.region.0));
    region.is_some_and(|region| region.kind == RegionKind::State)
}

/// Bytes of a port's tensor.
fn port_bytes(port: &Port) -> Option<u64> {
    let elem = u64::from(port.elem.bytes());
    port.shape
        .iter()
        .try_fold(elem, |bytes, &extent| bytes.checked_mul(extent))
}

/// Zeroed memory for `what`, or an error where the host has not as much.
pub(super) fn zeroed(what: &str, bytes: u64) -> Result<Vec<u8>, FuncError> {
    let none = || FuncError::NoMemory {
        what: format!("`{what}`"),
        bytes,
    };
    let len = usize::try_from(bytes).map_err(|_| none())?;
    Vec::<u8>::new()
        .try_reserve_exact(len)
        .map_err(|_| none())?;
    Ok(vec![0; len])
}

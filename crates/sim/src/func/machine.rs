//! The run of an entry: regions are bound, packets executed in stream order, outputs collected.

use packwright_packet::defs::Command;
use packwright_packet::operand::Elem;
use packwright_packet::program::{Entry, Program, Region};
use packwright_target::Target;

use super::dram::{Dram, State, zeroed};
use super::error::{Fault, FuncError};
use super::frame::Frame;
use super::matmul::Rooms;
use super::registers::Registers;
use super::{
    binary, copy, elementwise, gather, lookup, matmul, norm, quantize, reduce, rotary, scan,
    scatter, softmax, sort, transfer, unary,
};

/// What a run leaves at an output port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Name of the port.
    pub name: String,
    /// Element type.
    pub elem: Elem,
    /// Extents of the tensor.
    pub shape: Vec<u64>,
    /// The elements in row-major order, little endian.
    pub bytes: Vec<u8>,
}

/// A machine with a program: runs its entries one after the other and keeps state between runs.
///
/// Every run starts with zeros in SRAM; only regions of kind `State` outlive it.
#[derive(Debug)]
pub struct Machine<'p> {
    program: &'p Program,
    sram: Vec<u8>,
    result: Vec<u8>,
    rooms: Rooms,
    state: State,
}

impl<'p> Machine<'p> {
    /// A machine with the SRAM of `target` and zeroed state.
    pub fn new(program: &'p Program, target: &Target) -> Result<Self, FuncError> {
        Self::with_sram(program, target.sram.bytes)
    }

    /// A machine with `bytes` bytes of SRAM and zeroed state.
    pub fn with_sram(program: &'p Program, bytes: u64) -> Result<Self, FuncError> {
        let sram = zeroed("sram", bytes)?;
        Ok(Self {
            program,
            sram,
            result: Vec::new(),
            rooms: Rooms::default(),
            state: State::default(),
        })
    }

    /// Runs `entry` once and returns its outputs in the order of its ports.
    ///
    /// `inputs` names each input port once, in any order; a port on state may be left out, which
    /// leaves the state as it is. `registers` gives a value to each register of the entry. After an
    /// error, state is what the packets before it have left.
    pub fn run(
        &mut self,
        entry: &Entry,
        inputs: &[(&str, &[u8])],
        registers: &[u64],
    ) -> Result<Vec<Output>, FuncError> {
        let registers = Registers::of(entry, registers)?;
        self.sram.fill(0);
        let mut dram = Dram::bind(entry, &self.program.constants, inputs, &mut self.state)?;
        let frame = Frame {
            sram: &mut self.sram,
            registers,
            result: &mut self.result,
            rooms: &self.rooms,
        };
        // On a thread of the pool, so that no command waits for its work to be handed over.
        let executed = rayon::scope(|_| execute(frame, &mut dram, entry));
        let outputs = executed.and_then(|()| outputs(&dram, entry));
        dram.release(&mut self.state);
        outputs
    }

    /// What earlier runs have left in regions of state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Gives the bytes of a region of state, as if a run had left them there; missing ones are zero.
    pub fn set_state(&mut self, region: &Region, bytes: &[u8]) -> Result<(), FuncError> {
        self.state.set(region, bytes)
    }

    /// Zeroes all state.
    pub fn clear_state(&mut self) {
        self.state = State::default();
    }
}

/// Executes the packets of `entry` in stream order.
fn execute(mut frame: Frame<'_>, dram: &mut Dram<'_>, entry: &Entry) -> Result<(), FuncError> {
    for (packet, body) in entry.packets.iter().enumerate() {
        for (command, order) in body.commands.iter().enumerate() {
            perform(&mut frame, dram, order).map_err(|fault| {
                let mnemonic = order.mnemonic();
                FuncError::Command {
                    packet,
                    command,
                    mnemonic,
                    fault,
                }
            })?;
        }
    }
    Ok(())
}

/// Executes one command.
fn perform(frame: &mut Frame<'_>, dram: &mut Dram<'_>, command: &Command) -> Result<(), Fault> {
    match command {
        Command::Load(command) => transfer::load(frame, dram, command),
        Command::Store(command) => transfer::store(frame, dram, command),
        Command::Gather(command) => gather::gather(frame, dram, command),
        Command::Matmul(command) => matmul::matmul(frame, command),
        Command::Unary(command) => unary::unary(frame, command),
        Command::Binary(command) => binary::binary(frame, command),
        Command::Select(command) => elementwise::select(frame, command),
        Command::Fill(command) => elementwise::fill(frame, command),
        Command::Norm(command) => norm::norm(frame, command),
        Command::Softmax(command) => softmax::softmax(frame, command),
        Command::Quantize(command) => quantize::quantize(frame, command),
        Command::Dequantize(command) => quantize::dequantize(frame, command),
        Command::Rotary(command) => rotary::rotary(frame, command),
        Command::Reduce(command) => reduce::reduce(frame, command),
        Command::Scan(command) => scan::scan(frame, command),
        Command::Copy(command) => copy::copy(frame, command),
        Command::Lookup(command) => lookup::lookup(frame, command),
        Command::Scatter(command) => scatter::scatter(frame, command),
        Command::Sort(command) => sort::sort(frame, command),
    }
}

/// The contents of the output ports.
fn outputs(dram: &Dram<'_>, entry: &Entry) -> Result<Vec<Output>, FuncError> {
    let ports = entry.outputs.iter().map(|port| {
        let bytes = dram.output(port)?;
        Ok(Output {
            name: port.name.clone(),
            elem: port.elem,
            shape: port.shape.clone(),
            bytes,
        })
    });
    ports.collect()
}

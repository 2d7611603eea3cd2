//! What is modelled and what is approximated, in words.

/// The table of approximations.
pub fn section() -> anyhow::Result<String> {
    Ok(String::from(
        "| part | modelled | approximated or left out | how much it could matter |\n\
         |---|---|---|---|\n\
         | DRAM controller | banks, bank groups, ranks, open rows, refresh, turns, reordering in a window | the command bus takes no time; WCK synchronisation and power-down are left out | below 1 % of the peak on streams; see the table above for scattered patterns |\n\
         | DRAM, closed forms | stretches of a stripe, pieces below 2 KiB in gaps of activations and of the bus, writes before reads | order of bursts of several streams within a stripe; reordering beyond the gaps that are remembered | below 2 % of the time of every case of every embedded file against `--exact` (a test); prefills of 512 and 1,024 positions: below 5 %, but for Llama-3.2-1B at 512 on `evo`, whose streams meet in each other's banks (-11 %; use `--exact` there, see decision 0057); two streams that meet in the same banks all the time: up to 15 % |\n\
         | DMA | set-up, limit on bursts under way, turns | no translation of addresses, no host traffic | a host on the same memory takes its share: lower the bandwidth |\n\
         | gathers | every row a run of its own | rows lie as by a hash, whatever the indices | real indices repeat: real gathers are faster |\n\
         | SRAM | words of banks that a command's strides meet; rate of all ports together, shared by what started first | conflicts are rates: two commands that meet in one bank at the same cycle are not seen | two units that walk the same bank in step could halve each other's rate for that stretch |\n\
         | matrix array | folds, fill and drain, loading ahead, partial tiles, the held operand, groups shorter than the array | the epilogue keeps up; arrays of a core do not share operands | none at the rates of the presets |\n\
         | vector unit | lane cycles by element, reduction and function of a row, start-up | conversions at ports are free; work fills the lanes evenly | at most one turn of the lanes a command |\n\
         | sequencer | fetch, decode, window, tokens, dispatch | decoding is not pipelined | binds only with packets of a few commands |\n\
         | energy | events times energies of the target | one figure a byte and a multiply-add, no data dependence | factor of two: compare runs, not watts |\n\
         | power, heat, frequency | static power | no scaling, no throttling | a device that throttles is slower by its factor |\n",
    ))
}

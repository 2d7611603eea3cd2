//! Streams, rows and refresh, against the figures of DRAM simulators.

//! Arithmetic of the machine, specified to the bit.

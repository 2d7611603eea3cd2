//! Graph passes, plan passes, packet emission and bounds.

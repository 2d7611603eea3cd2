//! The test harness over text files.

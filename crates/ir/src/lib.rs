//! The network in tensors: graph, operators, types, shape rules, verifier, text form and the eval oracle.

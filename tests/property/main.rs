//! Properties: what holds for every input.

mod scan;

//! Properties: what holds for every input.

#[cfg(test)]
mod scan;

//! Properties: what holds for every input.

#[cfg(test)]
#[expect(unreachable_pub, reason = "a library of its own when it is fuzzed")]
#[path = "../fuzz/checks.rs"]
mod checks;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod scan;

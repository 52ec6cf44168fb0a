#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| checks::proxy_protocol::check(data));

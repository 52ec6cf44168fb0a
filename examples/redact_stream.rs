//! Masks the card numbers in what is piped in, as it comes:
//! `cargo run --release --example redact_stream < access.log > clean.log`.

use std::io::{Read, Result, Write, stdin, stdout};
use std::sync::Arc;

use bytes::Bytes;
use tillgate::scan::{Carrier, FieldRules, Rules, Stream};

fn main() -> Result<()> {
    let mut stream = Stream::new(Arc::new(Rules::responses(FieldRules::default())), Carrier::Text);
    let (mut piece, mut decided) = (vec![0; 64 << 10], Vec::new());
    loop {
        let length = stdin().read(&mut piece)?;
        match length {
            0 => stream.finish(&mut decided),
            _ => stream.push(Bytes::copy_from_slice(&piece[..length]), &mut decided),
        }
        for run in decided.drain(..) {
            let mut clean = run.bytes.to_vec();
            run.finds.iter().for_each(|find| find.mask(&mut clean));
            stdout().write_all(&clean)?;
        }
        if length == 0 {
            return Ok(());
        }
    }
}

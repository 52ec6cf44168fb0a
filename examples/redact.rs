//! Masks the card numbers in a text, and in a stream: `cargo run --example redact < LOG`.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use tillgate::scan::{self, Carrier, FieldRules, Rules, Stream};

fn main() -> io::Result<()> {
    let rules = Arc::new(Rules::responses(FieldRules::default()));

    let mut text = b"paid with 4111 1111 1111 1111\n".to_vec();
    for find in scan::find_all(&rules, Carrier::Text, &Bytes::from(text.clone())) {
        find.mask(&mut text);
    }
    io::stdout().write_all(&text)?;

    let mut stream = Stream::new(rules, Carrier::Text);
    let mut piece = vec![0; 64 << 10];
    loop {
        let length = io::stdin().read(&mut piece)?;
        let mut decided = Vec::new();
        match piece.get(..length) {
            Some(bytes) if length > 0 => stream.push(Bytes::copy_from_slice(bytes), &mut decided),
            _ => stream.finish(&mut decided),
        }
        for run in decided {
            let mut bytes = run.bytes.to_vec();
            run.finds.iter().for_each(|find| find.mask(&mut bytes));
            io::stdout().write_all(&bytes)?;
        }
        if length == 0 {
            return Ok(());
        }
    }
}

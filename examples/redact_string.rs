//! Masks the card numbers in a string: `cargo run --example redact_string`.

use std::io::{Result, Write, stdout};
use std::sync::Arc;

use bytes::Bytes;
use tillgate::scan::{Carrier, FieldRules, Rules, Stream};

fn main() -> Result<()> {
    let text = Bytes::from("paid with 4111 1111 1111 1111, thank you\n");
    let mut stream = Stream::new(Arc::new(Rules::responses(FieldRules::default())), Carrier::Text);
    let mut decided = Vec::new();
    stream.push(text, &mut decided);
    stream.finish(&mut decided);
    for run in decided {
        let mut clean = run.bytes.to_vec();
        run.finds.iter().for_each(|find| find.mask(&mut clean));
        stdout().write_all(&clean)?;
    }
    Ok(())
}

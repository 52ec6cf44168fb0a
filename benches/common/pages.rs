//! What a shop answers and its customers send, of exactly so many bytes.

/// A checkout without a card number, which is what most posts to a shop are.
pub(crate) const FORM: &str = "csrf=b7f0a1c94d3e5f62&first_name=Ada&last_name=Lovelace\
    &email=ada%40example.com&phone=%2B44+20+7946+0958&street=12+St+James%27s+Square&city=London\
    &postcode=SW1Y+4JH&country=GB&basket=tea-0017%3A2%2Cmug-0003%3A1&delivery=standard\
    &note=Please+ring+twice%2C+the+bell+is+old.&newsletter=0&terms=1";

/// Rows of a shop's list, padded to exactly this many bytes.
pub(crate) fn page(size: usize) -> String {
    let (head, tail) = ("<!doctype html><title>Shop</title>\n<ul class=\"products\">\n", "</ul>\n");
    let row = |number: usize| {
        format!(
            "<li id=\"p{number}\"><a href=\"/tea/{number}?ref=list\"><img src=\"/img/tea-{number}-320x240.jpg\" \
             alt=\"\"> Tea no. {number}</a> <span class=\"price\">{}.90 &euro;</span> <small>{} g, in stock</small></li>\n",
            4 + number % 37,
            50 * (1 + number % 5)
        )
    };
    fill(size, head, row, tail)
}

/// A catalogue as an API answers it, full of article numbers that are no card numbers.
pub(crate) fn catalogue(size: usize) -> String {
    let row = |number: usize| {
        format!(
            "{}{{\"id\":{},\"sku\":\"TEA-{number:05}\",\"ean\":\"{}\",\"name\":\"Tea no. {number}\",\
             \"price\":{}.90,\"stock\":{},\"changed\":\"2026-03-{:02}T08:15:00Z\"}}",
            if number == 0 { "" } else { "," },
            104_200 + number,
            4_006_381_333_931_usize + 7 * number,
            4 + number % 37,
            number * 13 % 97,
            1 + number % 28
        )
    };
    fill(size, "{\"products\":[", row, "]}")
}

fn fill(size: usize, head: &str, row: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let row = row(number);
        if text.len() + row.len() + tail.len() > size {
            break;
        }
        text.push_str(&row);
    }
    text.push_str(tail);
    let missing = size.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('\n', missing));
    text
}

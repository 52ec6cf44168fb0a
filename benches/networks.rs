//! What it costs to look a client's network up in the lists of allowed and denied ones.
//!
//! `cargo bench --bench networks`. One core, medians of several rounds: nanoseconds per look-up of an
//! address that nobody guesses, and milliseconds to cut the lists into steps, as each reload does.

#![expect(clippy::as_conversions, reason = "figures for people: precision does not matter")]

use std::hint::black_box;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ipnet::IpNet;
use tillgate::policy::{Listed, NetworkLists};

const ROUNDS: usize = 9;
const LOOKS: usize = 200_000;

fn main() {
    let mut out = std::io::stdout().lock();
    let [v4, v6, cut] = ["IPv4 ns", "IPv6 ns", "cut ms"];
    let _ = writeln!(out, "{:>10}{v4:>10}{v6:>10}{cut:>10}", "networks");
    for count in [0, 100, 100_000, 1_000_000] {
        let listed = networks(count);
        let begun = Instant::now();
        let lists = NetworkLists::new(listed);
        let cut = begun.elapsed().as_secs_f64() * 1e3;
        let mut dice = Dice(7);
        let four: Vec<IpAddr> = (0..LOOKS).map(|_| dice.four().into()).collect();
        let six: Vec<IpAddr> = (0..LOOKS).map(|_| dice.six().into()).collect();
        let (four, six) = (nanos(&lists, &four), nanos(&lists, &six));
        let _ = writeln!(out, "{count:>10}{four:>10.1}{six:>10.1}{cut:>10.1}");
    }
}

/// Half of them IPv4 (/16 to /32), half IPv6 (/32 to /64), every third allowed.
fn networks(count: usize) -> Vec<(IpNet, Listed)> {
    let mut dice = Dice(1);
    let network = |nth: usize| {
        let bits = (dice.next() % 17) as u8;
        let network = match nth % 2 {
            0 => IpNet::new(dice.four().into(), 16 + bits),
            _ => IpNet::new(dice.six().into(), 32 + bits * 2),
        };
        let listed = if nth.is_multiple_of(3) { Listed::Allowed } else { Listed::Denied };
        (network.expect("a length that the family has").trunc(), listed)
    };
    (0..count).map(network).collect()
}

fn nanos(lists: &NetworkLists, addresses: &[IpAddr]) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for address in addresses {
                black_box(lists.find(black_box(*address)));
            }
            begun.elapsed().as_secs_f64() * 1e9 / addresses.len() as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or_default()
}

/// Addresses that no predictor learns.
struct Dice(u64);

impl Dice {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn four(&mut self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.next() as u32)
    }

    /// One of those that are given out (2000::/3).
    fn six(&mut self) -> Ipv6Addr {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        Ipv6Addr::from_bits(bits >> 3 | 1 << 125)
    }
}

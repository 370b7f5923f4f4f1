//! Measures one look-up of a place and one completion: over the list of texts that the tests know, and over texts that cost
//! much, such as addresses, misspelt names, long prose and names that many places have.
//!
//! `cargo bench -p commands --bench places`.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at what it did not foresee")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use commands::{Gazetteer, PLACE_CHARS_MAX};

/// The texts that people type, `typed => meant`.
const TYPED: &str = include_str!("../src/gazetteer/typed.txt");
/// How often each text is looked up.
const ROUNDS: usize = 300;
const HARD: &[&str] = &[
    "Springfield",
    "San José",
    "Santa Cruz de la Sierra, Andrés Ibáñez, Santa Cruz, Bolivia",
    "Apt 4, 221B Baker Street, Marylebone, London NW1 6XE, Greater London, United Kingdom",
    "〒150-0041 東京都渋谷区神南一丁目1-1 日本国",
    "中华人民共和国广东省深圳市南山区粤海街道 518057",
    "Nuernbreg, Germny",
    "Sao Palo Brasil",
    "San Farncisco California United States of America",
    "Santtiago de Compostella Galicia Espana",
    "Saint Petersbrug Russian Federaton",
    "Universitätsstrasse 10, 8092 Zürich, Kanton Zürich, Schweiz",
    "I live in the suburbs of San Francisco, California, United States of America, Earth",
    "somewhere near the old town of San Miguel de Allende in Guanajuato in central Mexico",
    "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r",
    "san san san san san san san san san san san san, san san san san san san san san san",
    "Paris Paris Paris Paris Paris Paris, Paris Paris Paris Paris Paris, Paris Paris",
    "qwertyuiop asdfghjkl zxcvbnm",
    "Мосвка, Российская Федерация",
    "🇺🇸 🇬🇧 🇫🇷 🇩🇪 🇯🇵 🇧🇷 🇮🇳 🇨🇳",
];

fn main() {
    let typed: Vec<&str> = TYPED
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(" => ").unwrap().0)
        .collect();
    let longest = ["san ", "a, ", "é", "new york ", "東京都"]
        .map(|part| part.chars().cycle().take(PLACE_CHARS_MAX).collect::<String>());
    let hard: Vec<&str> = HARD.iter().copied().chain(longest.iter().map(String::as_str)).collect();
    let places = Gazetteer::shipped();
    let resolve = |text: &str| drop(black_box(places.resolve(black_box(text))));
    let suggest = |text: &str| drop(black_box(places.suggest(black_box(text), 8)));
    print_times("look-up, the list", &typed, resolve);
    print_times("look-up, hard", &hard, resolve);
    print_times("completion, the list", &typed, suggest);
    print_times("completion, hard", &hard, suggest);
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    print_times("completion, one letter", &letters.iter().map(String::as_str).collect::<Vec<_>>(), suggest);
}

/// Prints the median, the 99th percentile and the slowest of all runs, and the texts with the slowest medians.
fn print_times(what: &str, texts: &[&str], run: impl Fn(&str)) {
    texts.iter().for_each(|text| run(text));
    let mut all = Vec::new();
    let mut medians = Vec::new();
    for text in texts {
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                run(text);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        medians.push((times[ROUNDS / 2], *text));
        all.extend(times);
    }
    all.sort_unstable();
    medians.sort_unstable();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100];
    println!("{what}: {} texts, p50 {:.0?}, p99 {:.0?}, max {:.0?}", texts.len(), at(50), at(99), at(100));
    for (median, text) in medians.iter().rev().take(5) {
        println!("    {median:.0?}  {text}");
    }
}

//! A whole event: a thousand pins in the cities of the world, of people who write in many scripts. The pictures of the README are
//! made here.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use domain::SubmissionId;
use domain::submission::{Event, Participant, Passed, Submitted, VerdictBasis};
use domain::testing::{located_in, submitted_by};
use futures::{StreamExt, stream};
use uuid::Uuid;

use crate::support::browser::{Browser, Look};
use crate::support::log::Log;
use crate::support::{Shape, System};

const PINS: usize = 1000;
/// The number of cities of one country, so that the largest countries do not have them all.
const CITIES_OF_COUNTRY: usize = 20;
/// The number of cities in all. Some have many participants.
const CITIES: usize = 1400;
/// The places of the gazetteer: `id name country region near latitude longitude people`.
const PLACES: &str = include_str!("../../../commands/data/places.tsv");

/// Invented people by the countries of their scripts: first names and last names. The first line is of all other countries.
const PEOPLE: &[(&str, &str, &str)] = &[
    (
        "",
        "Ada Noor Mateo Lea Jonas Zoë Liam Inês Björn Chloé Tomáš Aylin Kwame Ngozi Sofía Emre Wanjiru",
        "Moreau Lindqvist Okafor Silva Novák Becker Yılmaz Rossi Kowalska Mensah Ibarra Ní-Bhriain Fernández Achieng",
    ),
    ("RU UA BY BG RS KZ", "Олена Иван Мила Тарас Дарья Никола", "Шевчук Соколов Иванова Петровић Коваль"),
    ("GR CY", "Ελένη Νίκος Σοφία Γιώργος", "Παπαδάκη Νικολάου Βλάχου"),
    ("CN TW HK", "伟 芳 子涵 浩然 雨桐", "王 李 陳 张 林"),
    ("JP", "さくら 陽斗 結衣 蓮 葵", "佐藤 鈴木 高橋 田中"),
    ("KR", "서연 민준 지우 도윤", "김 이 박 최"),
    ("EG SA IQ MA DZ JO LB AE TN SY", "ليلى عمر نور يوسف مريم", "الحسن حداد منصور خليل"),
    ("IR AF", "نیلوفر آرش مهسا", "احمدی کریمی"),
    ("IL", "נועה איתן מאיה", "כהן לוי פרץ"),
    ("IN NP", "अनन्या अर्जुन Priya Karthik கவிதா", "शर्मा Iyer Reddy मेहता"),
    ("TH", "มาลี สมชาย ปรียา", "ศรีสุข ใจดี"),
    ("GE", "ნინო გიორგი", "ბერიძე კაპანაძე"),
    ("AM", "Անի Արմեն", "Պետրոսյան"),
    ("ET", "ሰላም አበበ", "ተስፋዬ"),
    ("BD", "নুসরাত রাফি", "রহমান ইসলাম"),
];
/// What they vote for, the favourites more often.
const VOTES: &[&str] = &[
    "Go",
    "Go",
    "Go",
    "Go",
    "Python",
    "Python",
    "Python",
    "JavaScript",
    "JavaScript",
    "JavaScript",
    "Java",
    "Java",
    "Rust",
    "Rust",
    "Ruby",
    "Ruby",
    "C#",
    "PHP",
    "Node.js",
    "C++",
    "Scala",
    "Haskell",
    "Elixir",
    "Swift",
    "Clojure",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_map_shows_an_event_with_a_thousand_pins() {
    let system = System::without_a_swarm(Shape::OneProcess).await;
    let log = Log::of(&system).await;
    let cities = cities();
    let ids: Vec<SubmissionId> = (0..PINS).map(|_| SubmissionId(Uuid::new_v4())).collect();
    let entries = ids.iter().enumerate().map(|(n, id)| log.record(*id, [entry(n, &cities)]));
    stream::iter(entries).buffered(16).for_each(|_| async {}).await;
    let pass = || Event::Passed(Passed { attempt: 1, basis: VerdictBasis::default() });
    let (before, while_watched) = ids.split_at(PINS - 8);
    stream::iter(before.iter().map(|id| log.record(*id, [pass()]))).buffered(16).for_each(|_| async {}).await;
    let browser = Browser::open(Look::DESK).await;

    browser.go(&system.url("/#2.4/28/12")).await;
    browser.reads(".headline", "992").await;
    for id in while_watched {
        log.record(*id, [pass()]).await;
    }
    browser.reads(".headline", "1,000").await;
    shows_groups(&browser, 200, "110m").await;
    browser.picture("map-world").await;
    browser.is_accessible().await;
    browser.go(&system.url("/#5/48.5/9")).await;
    shows_groups(&browser, 40, "50m").await;
    browser.picture("map-europe").await;
    browser.is_accessible().await;
    browser.wear(Look { size: (390, 844), dark: true }).await;
    browser.go(&system.url("/#3.6/30/115")).await;
    shows_groups(&browser, 150, "50m").await;
    browser.holds("one column", "return document.documentElement.scrollWidth <= innerWidth").await;
    browser.picture("map-phone-dark").await;
    browser.is_accessible().await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

/// Waits until the page shows clusters of at most `pins`, which its list of what is in view tells, and the land.
async fn shows_groups(browser: &Browser, pins: u32, atlas: &str) {
    let script = format!(
        "const largest = document.querySelector('.in-view [data-cluster]');
        const loaded = performance.getEntriesByType('resource').some(({{ name }}) => name.includes('{atlas}'));
        return loaded && largest !== null && parseInt(largest.textContent) <= {pins}"
    );
    browser.holds("clusters of pins", &script).await;
}

/// A city: its name, its country, its latitude and its longitude.
type City = (&'static str, &'static str, f64, f64);

/// Returns the largest cities of the world, not too many of one country, the largest first.
fn cities() -> Vec<City> {
    let mut all: Vec<(u32, City)> = PLACES
        .lines()
        .map(|row| {
            let columns: Vec<&str> = row.split('\t').collect();
            let [_, name, country, _, _, lat, lon, people] = columns[..] else { panic!("{row}") };
            (people.parse().unwrap(), (name, country, lat.parse().unwrap(), lon.parse().unwrap()))
        })
        .collect();
    all.sort_by_key(|(people, _)| Reverse(*people));
    let mut of_country = BTreeMap::new();
    all.retain(|(_, (_, country, ..))| {
        let count = of_country.entry(*country).or_insert(0);
        *count += 1;
        *count <= CITIES_OF_COUNTRY
    });
    all.into_iter().take(CITIES).map(|(_, city)| city).collect()
}

/// Returns the submission of the participant `n`. The same number is always the same participant.
fn entry(n: usize, cities: &[City]) -> Event {
    // The golden ratio spreads the numbers evenly; the power prefers large cities.
    let part = (n as f64 * 0.618_034).fract();
    let (city, country, lat, lon) = cities[(part * part.sqrt() * cities.len() as f64) as usize];
    let of_country = |(countries, ..): &&(&str, &str, &str)| countries.split(' ').any(|one| one == country);
    let (_, first, last) = PEOPLE.iter().skip(1).find(of_country).unwrap_or(&PEOPLE[0]);
    let pick = |list: &'static str, step: usize| {
        let words: Vec<&str> = list.split(' ').collect();
        words[n * step % words.len()]
    };
    let (first, last) = (pick(first, 7), pick(last, 5));
    let name = if matches!(country, "CN" | "TW" | "HK" | "JP" | "KR") {
        format!("{last}{first}")
    } else {
        format!("{first} {last}")
    };
    Event::Submitted(Submitted {
        participant: Participant { name, twitter: None },
        location: located_in(city, country, lat, lon),
        answers: [("vote".to_owned(), VOTES[n * 7 % VOTES.len()].to_owned())].into(),
        ..submitted_by(&format!("owner{n}"))
    })
}

//! Texts that people type, and the places that they must lead to.

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::areas::{AREA_NAMES, AREAS};
use super::fold::fold;
use super::places::PLACES;
use super::table::{SortedTable, columns, first_column};
use super::*;

/// The four tables by name.
const TABLES: [(&str, &SortedTable); 4] =
    [("places", &PLACES), ("names", &NAMES), ("areas", &AREAS), ("area_names", &AREA_NAMES)];

/// The part of the lists below that must lead to the right answer.
const RIGHT_PERCENT_MIN: usize = 97;

fn resolve(typed: &str) -> Result<GazetteerPlace, PlaceError> {
    Gazetteer::shipped().resolve(typed)
}

/// Returns "City, Region, Country", to be compared by eye.
fn full(place: &GazetteerPlace) -> String {
    let region = place.region.as_deref().map(|region| format!("{region}, ")).unwrap_or_default();
    format!("{}, {region}{}", place.city, place.country)
}

#[test]
fn a_typed_name_leads_to_the_place_that_is_meant() {
    let table = [
        ("San Francisco, CA, USA", "San Francisco, California, US"),
        ("san francisco ca", "San Francisco, California, US"),
        ("San Francisco CA, USA", "San Francisco, California, US"),
        ("USA, California, San Francisco", "San Francisco, California, US"),
        ("Zürich", "Zürich, Zurich, CH"),
        ("ZUERICH", "Zürich, Zurich, CH"),
        ("Zurich, Switzerland", "Zürich, Zurich, CH"),
        ("Zurich Schweiz", "Zürich, Zurich, CH"),
        ("東京", "Tokyo, Tokyo, JP"),
        ("東京、日本", "Tokyo, Tokyo, JP"),
        ("Tokyo", "Tokyo, Tokyo, JP"),
        ("Japan, Tokyo", "Tokyo, Tokyo, JP"),
        ("München", "Munich, Bavaria, DE"),
        ("Munich, Bayern", "Munich, Bavaria, DE"),
        ("Paris", "Paris, Île-de-France, FR"),
        ("Paris, France", "Paris, Île-de-France, FR"),
        ("Paris, TX", "Paris, Texas, US"),
        ("paris texas", "Paris, Texas, US"),
        ("New York", "New York City, New York, US"),
        ("NYC", "New York City, New York, US"),
        ("New York, New York", "New York City, New York, US"),
        ("St. Petersburg", "Saint Petersburg, RU"),
        ("St. Petersburg, FL", "St. Petersburg, Florida, US"),
        ("Saint-Denis, Réunion", "Saint-Denis, RE"),
        ("saint denis, france", "Saint-Denis, Île-de-France, FR"),
        ("London", "London, England, GB"),
        ("London, UK", "London, England, GB"),
        ("London, Ontario", "London, Ontario, CA"),
        ("London ON", "London, Ontario, CA"),
        ("Cluj-Napoca, Romania", "Cluj-Napoca, RO"),
        ("cluj napoca", "Cluj-Napoca, RO"),
        ("São Paulo", "São Paulo, São Paulo, BR"),
        ("sao paulo", "São Paulo, São Paulo, BR"),
        ("Bengaluru", "Bengaluru, Karnataka, IN"),
        ("Bangalore", "Bengaluru, Karnataka, IN"),
        ("Kyiv", "Kyiv, UA"),
        ("Kiev", "Kyiv, UA"),
        ("Kiev, Ukraine", "Kyiv, UA"),
        ("Washington DC", "Washington, District of Columbia, US"),
        ("Washington, D.C., USA", "Washington, District of Columbia, US"),
        ("Hong Kong", "Hong Kong, HK"),
        ("Singapore", "Singapore, SG"),
        ("Москва", "Moscow, RU"),
        ("Москва, Россия", "Moscow, RU"),
        ("Athens, Georgia", "Athens, Georgia, US"),
        ("Springfield, IL", "Springfield, Illinois, US"),
        ("القاهرة", "Cairo, EG"),
        ("서울", "Seoul, KR"),
        ("दिल्ली", "Delhi, Delhi, IN"),
        ("Αθήνα", "Athens, GR"),
        ("Łódź", "Łódź, Łódź, PL"),
        ("lodz", "Łódź, Łódź, PL"),
        ("Gdansk", "Gdańsk, Pomerania, PL"),
        ("Lviv, Lviv Oblast, Ukraine", "Lviv, UA"),
        ("  tokyo ,, ", "Tokyo, Tokyo, JP"),
    ];
    let wrong: Vec<String> = table
        .iter()
        .map(|(typed, meant)| (typed, meant, resolve(typed)))
        .filter(|(_, meant, got)| got.as_ref().map(full).as_deref() != Ok(**meant))
        .map(|(typed, meant, got)| format!("{typed}: {meant}, not {got:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the lines of a list that lead to another answer than it says, and the number of all lines.
fn misses(list: &str) -> (Vec<String>, usize) {
    let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut misses = Vec::new();
    let mut count = 0;
    for line in lines {
        count += 1;
        let (typed, meant) = line.split_once(" => ").expect("typed => meant");
        let got = resolve(typed);
        let is_right = match (meant.strip_prefix('?').map(str::trim), &got) {
            (None, Ok(place)) => meant.split(" | ").any(|meant| meant == full(place)),
            (Some(""), Err(_)) => true,
            (
                Some(first),
                Err(
                    PlaceError::Area { largest: offered }
                    | PlaceError::Ambiguous { candidates: offered }
                    | PlaceError::Unknown { nearest: offered },
                ),
            ) => offered.iter().any(|one| one.as_str().starts_with(first)),
            _ => false,
        };
        if !is_right {
            let got = got.as_ref().map(full);
            misses.push(format!("{typed}: {meant}, not {got:?}"));
        }
    }
    (misses, count)
}

#[test]
fn the_ways_in_which_people_write_where_they_are_lead_to_the_right_answer() {
    let (misses, count) = misses(include_str!("typed.txt"));
    println!("{} of {count} are right\n{}", count - misses.len(), misses.join("\n"));
    assert!(count >= 200);
    assert!((count - misses.len()) * 100 >= count * RIGHT_PERCENT_MIN, "{}", misses.join("\n"));
}

#[test]
fn an_area_is_answered_with_its_largest_cities() {
    let Err(PlaceError::Area { largest }) = resolve("Poland") else { panic!("{:?}", resolve("Poland")) };
    let largest: Vec<&str> = largest.iter().map(PlaceSuggestion::as_str).collect();
    assert_eq!(largest[..2], ["Warsaw, Mazovia, PL", "Kraków, Lesser Poland, PL"]);
    assert!(largest.len() <= SUGGESTIONS_MAX);
    for row in AREAS.rows() {
        let [_, _, ids]: [&str; 3] = columns(first_column(row).1);
        assert!(ids.split(',').all(|id| PLACES.get::<1>(id).is_some()), "{row}");
    }
    for row in AREA_NAMES.rows() {
        let [codes]: [&str; 1] = columns(first_column(row).1);
        assert!(codes.split(',').all(|code| AREAS.get::<1>(code).is_some()), "{row}");
    }
}

#[test]
fn a_city_state_is_its_city_in_every_language() {
    for code in ["SG", "MC", "LU", "DJ", "SM", "VA", "GI", "MO", "HK"] {
        let names = AREA_NAMES.rows().filter(|row| columns::<1>(first_column(row).1) == [code]);
        for name in names.map(|row| first_column(row).0) {
            assert_eq!(resolve(name).map(|place| place.country).as_deref(), Ok(code), "{name}");
        }
    }
}

#[test]
fn a_city_with_the_name_of_its_country_is_asked_for_first() {
    for (country, city) in [
        ("Mexico", "Mexico City, Mexico City, MX"),
        ("Panamá", "Panama City, PA"),
        ("Guatemala", "Guatemala City, GT"),
        ("Kuwait", "Kuwait City, KW"),
        ("عمان", "Amman, JO"),
    ] {
        let Err(PlaceError::Area { largest }) = resolve(country) else {
            panic!("{country}: {:?}", resolve(country))
        };
        assert_eq!(largest[0].as_str(), city);
        assert!(
            largest.len() > 1 && largest.iter().skip(1).all(|other| other.as_str() != city),
            "{largest:?}"
        );
    }
    let completed = Gazetteer::shipped().suggest("Kuwait", 3);
    assert_eq!(completed[0].as_str(), "Kuwait City, KW");
}

#[test]
fn two_cities_are_one_place_only_if_they_are_near() {
    for typed in ["Tokyo / Osaka", "Paris, London", "Berlin - Hamburg", "Osaka, Tokyo"] {
        let Err(PlaceError::Ambiguous { candidates }) = resolve(typed) else {
            panic!("{typed}: {:?}", resolve(typed))
        };
        assert_eq!(candidates.len(), 2, "{typed}: {candidates:?}");
    }
    assert_eq!(full(&resolve("Howrah, Kolkata").unwrap()), "Kolkata, West Bengal, IN");
    assert_eq!(full(&resolve("Minneapolis / St. Paul").unwrap()), "Saint Paul, Minnesota, US");
}

#[test]
fn a_place_has_its_country_and_coordinates() {
    let place = resolve("Zürich").unwrap();
    assert_eq!(place.country_name, "Switzerland");
    assert_eq!((place.lat, place.lon), (47.36667, 8.55));
}

#[test]
fn an_ambiguous_name_is_answered_with_candidates() {
    for typed in ["Springfield", "springfield, usa", "Saint-Denis", "San José", "Valencia"] {
        let Err(PlaceError::Ambiguous { candidates }) = resolve(typed) else {
            panic!("{typed}: {:?}", resolve(typed));
        };
        assert!(candidates.len() > 1, "{typed}: {candidates:?}");
        assert!(candidates.len() <= SUGGESTIONS_MAX, "{typed}: {candidates:?}");
    }
    let Err(PlaceError::Ambiguous { candidates }) = resolve("Springfield") else { panic!("there are many") };
    assert!(candidates.iter().any(|one| one.as_str() == "Springfield, Illinois, US"), "{candidates:?}");
    let error = resolve("Springfield, Massachusetts, Illinois").unwrap_err();
    assert!(matches!(&error, PlaceError::Unknown { nearest } if !nearest.is_empty()), "{error}");
}

#[test]
fn a_wrong_name_is_answered_with_the_nearest() {
    let table = [
        ("Zurrich", "Zürich, Zurich, CH"),
        ("Pairs, France", "Paris, Île-de-France, FR"),
        ("San Farncisco, CA", "San Francisco, California, US"),
        ("Zurrich Switzerland", "Zürich, Zurich, CH"),
        ("Berlln", "Berlin, Berlin, DE"),
        ("Paris, Germany", "Paris, Île-de-France, FR"),
        ("Мосвка", "Moscow, RU"),
    ];
    for (typed, meant) in table {
        let Err(PlaceError::Unknown { nearest }) = resolve(typed) else {
            panic!("{typed}: {:?}", resolve(typed));
        };
        assert_eq!(nearest.first().map(PlaceSuggestion::as_str), Some(meant), "{typed}: {nearest:?}");
    }
}

#[test]
fn a_text_that_is_no_name_is_refused() {
    for typed in ["", "   ", " ,;, ", "!?", "\u{301}\u{0}"] {
        assert_eq!(resolve(typed), Err(PlaceError::Empty), "{typed:?}");
    }
    assert_eq!(resolve(&"é".repeat(PLACE_CHARS_MAX + 1)), Err(PlaceError::TooLong));
    assert_eq!(resolve(&"é".repeat(PLACE_CHARS_MAX)), Err(PlaceError::Unknown { nearest: Vec::new() }));
}

#[test]
fn a_name_is_completed_as_one_types() {
    let first = |prefix: &str| {
        let suggested = Gazetteer::shipped().suggest(prefix, 3);
        assert!(suggested.len() <= 3);
        suggested.first().map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(first("zür"), "Zürich, Zurich, CH");
    assert_eq!(first("lo"), "London, England, GB");
    assert_eq!(first("東"), "Tokyo, Tokyo, JP");
    assert_eq!(first("san fran"), "San Francisco, California, US");
    assert_eq!(first("Paris, Te"), "Paris, Texas, US");
    assert_eq!(first("Paris, Texas, U"), "Paris, Texas, US");
    assert_eq!(first("Springfield, united st"), "Springfield, Missouri, US");
    assert_eq!(first("st"), "Stockholm, SE");
    assert_eq!(first("st pe"), "Saint Petersburg, RU");
    assert_eq!(first("SF"), "San Francisco, California, US");
    assert_eq!(first("NYC"), "New York City, New York, US");
    assert_eq!(first("Poland"), "Warsaw, Mazovia, PL");
    assert_eq!(first("10115 Berlin"), "Berlin, Berlin, DE");
    assert_eq!(first("Boston, Mass."), "Boston, Massachusetts, US");
    assert_eq!(first("Paris (France)"), "Paris, Île-de-France, FR");
    assert_eq!(first("Zurich, Schw"), "Zürich, Zurich, CH");
    assert_eq!(first("qqqq"), "");
    assert_eq!(first(""), "");
    assert!(Gazetteer::shipped().suggest("a", 0).is_empty());
}

/// Checks every 101st place. Check all of them once when the tables change.
#[test]
fn a_suggestion_typed_back_means_its_place() {
    for row in TABLES[1].1.rows().step_by(101) {
        for candidate in places_of_row(row) {
            let printed = candidate.suggestion();
            assert_eq!(resolve(printed.as_str()), Ok(candidate.place()), "{printed}");
        }
    }
}

#[test]
fn the_tables_have_the_checksums_of_the_script() {
    let pinned = [
        "9a3f626ff7495c1f15557521da1088e8dcad73291e6e6369a291476fa291ca74",
        "28a8aadd6afd3302669fe3636ca0be46b18ac201add2218eed32d9fc70f078b4",
        "1de4d0ec77bbe3abd1f68407c3d721bc812e979c6c32eedb553b291438146181",
        "ff4078ba7e9a4c16548f06d32a0c0b90ca9cae8f2cc07d46cb55bbc26a57a708",
    ];
    let actual: Vec<String> = TABLES
        .iter()
        .map(|(_, table)| Sha256::digest(table.text()).iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    assert_eq!(actual, pinned);
}

#[test]
fn the_tables_are_sorted_and_folded_as_the_program_folds() {
    for (name, table) in TABLES {
        assert!(table.rows().map(|row| first_column(row).0).is_sorted_by(|a, b| a < b), "{name}");
    }
    let [places, names, ..] = TABLES.map(|(_, table)| table);
    for row in names.rows().chain(AREA_NAMES.rows()) {
        let key = first_column(row).0;
        assert_eq!(fold(key), key);
    }
    for row in places.rows() {
        let (id, rest) = first_column(row);
        let [name]: [&str; 1] = columns(rest);
        let found = places_named(&fold(name));
        assert!(found.iter().any(|one| one.id.to_string() == id), "{id} {name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_has_an_answer(typed in "\\PC{0,110}") {
        let _ = resolve(&typed);
        prop_assert!(Gazetteer::shipped().suggest(&typed, 5).len() <= 5);
    }

    #[test]
    fn names_and_noise_have_an_answer(words in proptest::collection::vec("(St|San|Paris|US|CA|near|New|,|;|、|'|\\PC|[a-z]{1,4})", 0..24)) {
        let typed = words.join(" ");
        match resolve(&typed) {
            Err(PlaceError::Ambiguous { candidates: offered } | PlaceError::Unknown { nearest: offered } | PlaceError::Area { largest: offered }) => for one in offered {
                prop_assert!(resolve(one.as_str()).is_ok(), "{one}");
            },
            other => drop(other),
        }
    }
}

#[test]
fn a_well_known_name_is_not_taken_out_of_the_name_of_another_place() {
    for typed in [
        "Puebla de Sanabria",
        "Puebla de Sanabria Spain",
        "Puebla de Sanabria, Spain",
        "Santiago Tilantongo",
        "London am See",
        "Paris Texas Road",
        "London Hackney",
    ] {
        assert!(resolve(typed).is_err(), "{typed}");
    }
    let Err(PlaceError::Ambiguous { candidates }) = resolve("London Hackney") else {
        panic!("nothing is asked")
    };
    assert_eq!(candidates[0].as_str(), "London, England, GB");
    assert_eq!(full(&resolve("Hackney London").unwrap()), "London, England, GB");
    assert_eq!(full(&resolve("Hackney England London").unwrap()), "London, England, GB");
}

#[test]
fn the_longest_filler_is_left_out() {
    assert_eq!(full(&resolve("Hong Kong Special Administrative Region").unwrap()), "Hong Kong, HK");
    assert_eq!(full(&resolve("Delhi National Capital Region").unwrap()), "Delhi, Delhi, IN");
    assert!(matches!(resolve("Salta Region"), Err(PlaceError::Area { .. })), "{:?}", resolve("Salta Region"));
}

#[test]
fn a_text_of_many_parts_is_not_completed() {
    let suggest = |typed: &str| Gazetteer::shipped().suggest(typed, 8);
    assert!(!suggest("Tokyo,,,,,,,,,,,").is_empty());
    assert!(!suggest("Kreuzberg, Berlin, DE").is_empty());
    assert!(suggest("Japan, Tokyo, a, b, c, d, e, f, g").is_empty());
}

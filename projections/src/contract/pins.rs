//! The queries of the map.

use domain::submission::{Event, FailureCode};
use event_store::Position;

use super::{EventHistory, ViewsUnderTest, WORLD, catch_up};
use crate::ViewStore;
use crate::view::{BoundingBox, Cluster, MapFeature, MapView, Pin, StatsView, SubmissionStatus};

pub async fn an_owner_has_one_pin(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    catch_up(&*views, &history).await;
    history.submit_and_pass("ada", 2);
    catch_up(&*views, &history).await;
    let [MapFeature::Pin(pin)] = &shown(&*views, WORLD, 16).await[..] else { panic!("one pin") };
    assert_eq!((pin.owner.as_str(), pin.city.as_str(), pin.passes), ("docker.io/ada", "Paris", 2));
    assert_eq!((pin.position, pin.name.as_str()), (history.head(), "ada of Paris"));
    let stats = views.stats().await.expect("readable");
    assert_eq!((stats.pins, stats.places, stats.countries), (1, 1, [("FR".to_owned(), 1)].into()));
}

pub async fn a_rejudge_that_fails_takes_the_pin_away(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let passes = [0, 2, 4].map(|city| history.submit_and_pass("ada", city));
    let fails = |history: &mut EventHistory, id| {
        history.rejudge(id);
        history.start(id);
        history.fail(id, &[FailureCode::Mismatch]);
    };
    history.rejudge(passes[2]);
    catch_up(&*views, &history).await;
    assert_eq!(pins(&*views).await[0].city, "San José", "the old verdict stands until there is a new one");
    history.start(passes[2]);
    history.fail(passes[2], &[FailureCode::Mismatch]);
    catch_up(&*views, &history).await;
    let left = pins(&*views).await;
    assert_eq!((left[0].city.as_str(), left[0].passes), ("Paris", 2), "the newest pass that is left");

    fails(&mut history, passes[0]);
    fails(&mut history, passes[1]);
    catch_up(&*views, &history).await;
    assert_eq!(shown(&*views, WORLD, 3).await, []);
    let stats = views.stats().await.expect("readable");
    assert_eq!((stats.pins, stats.places, stats.countries.len(), stats.answers.len()), (0, 0, 0, 0));
    let gone = pins(&*views).await;
    assert_eq!(
        (gone.len(), gone[0].passes, gone[0].position),
        (1, 0, history.head()),
        "the removal is a change"
    );
    for text in ["ada", "london", "paris", "san jose", "jose"] {
        assert_eq!(views.find_pins(text, 9).await.expect("readable"), [], "{text}");
    }
}

pub async fn a_rejudge_that_passes_again_leaves_the_pin_alone(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit_and_pass("ada", 0);
    history.submit_and_pass("ada", 2);
    catch_up(&*views, &history).await;
    let before = pins(&*views).await;
    history.rejudge(id);
    history.start(id);
    history.pass(id);
    catch_up(&*views, &history).await;
    assert_eq!(pins(&*views).await, before);
}

pub async fn a_hidden_submission_has_no_pin_until_it_is_shown_again(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [older, newer] = [0, 2].map(|city| history.submit_and_pass("ada", city));
    history.submit_and_pass("bob", 2);
    let before = views_of(&*views, &history).await;

    history.hide(newer);
    catch_up(&*views, &history).await;
    let left = pins(&*views).await;
    assert_eq!((left[1].city.as_str(), left[1].passes), ("London", 1), "the other submission of the owner");
    history.hide(older);
    catch_up(&*views, &history).await;
    assert_eq!(shown(&*views, WORLD, 3).await.len(), 1, "the pin of the other owner");
    let stats = views.stats().await.expect("readable");
    assert_eq!((stats.pins, stats.places, stats.countries), (1, 1, [("FR".to_owned(), 1)].into()));
    assert_eq!(stats.answers["vote"].values().sum::<u64>(), 1);
    let gone = &pins(&*views).await[1];
    assert_eq!((gone.passes, gone.position), (0, history.head()), "the removal is a change");
    assert_eq!(views.find_pins("ada", 9).await.expect("readable"), []);

    // The older one is shown last, and does not take the place of the newer one.
    history.show(newer);
    catch_up(&*views, &history).await;
    history.show(older);
    assert_eq!(views_of(&*views, &history).await, before);
    history.hide(newer);
    catch_up(&*views, &history).await;
    assert_eq!(pins(&*views).await[1].city, "London");
}

pub async fn a_submission_that_is_hidden_before_its_verdict_gets_no_pin(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let id = history.submit("ada", 0);
    history.hide(id);
    history.start(id);
    history.pass(id);
    catch_up(&*views, &history).await;
    assert_eq!(pins(&*views).await, []);
    assert_eq!(views.stats().await.expect("readable").submissions[&SubmissionStatus::Passed], 1);
    history.show(id);
    catch_up(&*views, &history).await;
    let [pin] = &pins(&*views).await[..] else { panic!("one pin") };
    assert_eq!((pin.passes, pin.position), (1, history.head()));
    let passed = history.events.iter().find(|event| matches!(event.event, Event::Passed(_)));
    assert_eq!(Some(pin.passed_at), passed.map(|event| event.recorded_at), "not the time of the showing");

    // A verdict that fails a hidden submission leaves nothing to show.
    history.hide(id);
    history.rejudge(id);
    history.start(id);
    history.fail(id, &[FailureCode::Mismatch]);
    history.show(id);
    catch_up(&*views, &history).await;
    assert_eq!(shown(&*views, WORLD, 3).await, []);
}

pub async fn a_corrected_name_is_on_the_pin_and_in_the_search(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let [older, newer] = [0, 2].map(|city| history.submit_and_pass("ada", city));
    catch_up(&*views, &history).await;
    history.correct(newer, "Ada King");
    history.correct(older, "Ada Byron");
    catch_up(&*views, &history).await;
    let [pin] = &pins(&*views).await[..] else { panic!("one pin") };
    assert_eq!((pin.name.as_str(), pin.passes, pin.position), ("Ada King", 2, history.head()));
    assert_eq!(views.find_pins("king", 9).await.expect("readable").len(), 1);
    let status = views.status(newer).await.expect("readable").expect("submitted");
    assert_eq!(status.name, "Ada King");
    // The older one comes forward under its own new name, and a hidden one is corrected unseen.
    history.hide(newer);
    history.correct(newer, "Augusta King");
    catch_up(&*views, &history).await;
    assert_eq!(pins(&*views).await[0].name, "Ada Byron");
    history.show(newer);
    catch_up(&*views, &history).await;
    assert_eq!(pins(&*views).await[0].name, "Augusta King");
}

pub async fn hiding_and_showing_in_one_batch_leaves_the_pin_where_it_was(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    let ids = [0, 2, 4, 8].map(|city| history.submit_and_pass("ada", city));
    let before = views_of(&*views, &history).await;
    for id in [ids[3], ids[0], ids[2]] {
        history.hide(id);
    }
    for id in [ids[0], ids[2], ids[3]] {
        history.show(id);
    }
    assert_eq!(views_of(&*views, &history).await, before);
}

pub async fn changed_pins_are_returned_in_the_order_of_their_changes(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    for owner in ["a", "b", "c"] {
        history.submit_and_pass(owner, 0);
    }
    let middle = history.head();
    history.submit_and_pass("a", 1);
    history.submit_and_pass("d", 1);
    catch_up(&*views, &history).await;
    let changed = async |after, max| -> Vec<String> {
        let pins = views.pins_changed(after, max).await.expect("readable");
        pins.into_iter().map(|pin| pin.owner).collect()
    };
    let owners = ["b", "c", "a", "d"].map(|owner| format!("docker.io/{owner}"));
    assert_eq!(changed(Position::START, 10).await, owners);
    assert_eq!(changed(middle, 10).await, owners[2..]);
    assert_eq!(changed(Position::START, 1).await, owners[..1]);
    assert!(changed(history.head(), 10).await.is_empty());
}

pub async fn pins_are_found_by_name_and_by_city(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    for (owner, city) in [("london-fan", 2), ("zoe", 8), ("bob", 0), ("eve", 8)] {
        history.submit_and_pass(owner, city);
    }
    catch_up(&*views, &history).await;
    let found = async |text: &str, max| -> Vec<String> {
        let pins = views.find_pins(text, max).await.expect("readable");
        pins.into_iter().map(|pin| pin.owner.replace("docker.io/", "")).collect()
    };
    assert_eq!(found("LOND", 9).await, ["london-fan", "bob"], "names first");
    assert_eq!(found("zÜr", 9).await, ["zoe", "eve"]);
    assert_eq!(found("z", 9).await, ["zoe", "eve"], "each once");
    assert_eq!(found("z", 1).await, ["zoe"]);
    assert!(found("x", 9).await.is_empty());
}

pub async fn a_search_ignores_accents_and_finds_a_last_name(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    for (owner, city) in [("ada", 8), ("bob", 0)] {
        history.submit_and_pass(owner, city);
    }
    catch_up(&*views, &history).await;
    for (text, expected) in [
        ("zur", &["ada of Zürich"][..]),
        ("ZÜR", &["ada of Zürich"]),
        ("zu\u{308}r", &["ada of Zürich"]),
        ("ADA OF ZUR", &["ada of Zürich"]),
        ("lond", &["bob of London"]),
        ("of", &[]),
    ] {
        let pins = views.find_pins(text, 9).await.expect("readable");
        let found: Vec<&str> = pins.iter().map(|pin| pin.name.as_str()).collect();
        assert_eq!(found, expected, "{text}");
    }
}

pub async fn a_search_text_is_not_a_pattern(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    catch_up(&*views, &history).await;
    for text in [".*", "^ada", "$ne", "{\"$gt\":\"\"}", "ad\u{0}", "\u{10ffff}", "ada of london!"] {
        assert_eq!(views.find_pins(text, 9).await.expect("readable"), [], "{text}");
    }
}

pub async fn a_cluster_splits_at_its_expansion_zoom(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    for (owner, city) in [("a", 0), ("b", 0), ("c", 1), ("d", 4)] {
        history.submit_and_pass(owner, city);
    }
    catch_up(&*views, &history).await;
    let features = shown(&*views, WORLD, 2).await;
    let pin =
        features.iter().find_map(|feature| if let MapFeature::Pin(pin) = feature { Some(pin) } else { None });
    assert_eq!((features.len(), pin.map(|pin| pin.city.as_str())), (2, Some("San José")));
    let Some(MapFeature::Cluster(Cluster { count: 3, lat, lon, expansion_zoom: Some(zoom) })) =
        features.iter().find(|feature| matches!(feature, MapFeature::Cluster(_)))
    else {
        panic!("{features:?}")
    };
    assert!((51.3..51.6).contains(lat) && (-0.2..0.0).contains(lon), "{lat} {lon}");
    let england = BoundingBox { west: -2.0, south: 50.0, east: 2.0, north: 53.0 };
    assert_eq!(shown(&*views, england, zoom - 1).await.len(), 1);
    let apart = shown(&*views, england, *zoom).await;
    assert!(
        matches!(
            &apart[..],
            [MapFeature::Cluster(Cluster { count: 2, expansion_zoom: None, .. }), MapFeature::Pin(_)]
        ),
        "{apart:?}"
    );
}

pub async fn pins_of_one_place_do_not_hide_each_other(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    for owner in ["a", "b", "c"] {
        history.submit_and_pass(owner, 8);
    }
    history.submit_and_pass("d", 0);
    catch_up(&*views, &history).await;
    let near = BoundingBox { west: 8.0, south: 47.0, east: 9.0, north: 48.0 };
    let features = shown(&*views, near, 16).await;
    let [MapFeature::Cluster(Cluster { count: 3, lat, lon, expansion_zoom: None })] = features[..] else {
        panic!("{features:?}")
    };
    assert!((lat - 47.36667).abs() < 1e-6 && (lon - 8.55).abs() < 1e-6, "{lat} {lon}");
    let listed = views.pins_at(lat, lon, 10).await.expect("readable");
    let owners: Vec<_> = listed.iter().map(|pin| pin.owner.as_str()).collect();
    assert_eq!(owners, ["docker.io/c", "docker.io/b", "docker.io/a"], "the newest first");
    assert_eq!(views.pins_at(lat, lon, 2).await.expect("readable").len(), 2);
    assert_eq!(views.pins_at(0.0, 0.0, 2).await.expect("readable"), []);
}

pub async fn a_bounding_box_may_cross_the_antimeridian(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("suva", 6);
    history.submit_and_pass("apia", 7);
    history.submit_and_pass("london", 0);
    catch_up(&*views, &history).await;
    let pacific = BoundingBox { west: 170.0, south: -30.0, east: -160.0, north: 0.0 };
    let mut cities: Vec<_> = shown(&*views, pacific, 8)
        .await
        .into_iter()
        .map(|feature| if let MapFeature::Pin(pin) = feature { pin.city } else { panic!("far apart") })
        .collect();
    cities.sort();
    assert_eq!(cities, ["Apia", "Suva"]);
}

pub async fn pins_on_both_sides_of_the_antimeridian_form_one_cluster(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("west", 9);
    history.submit_and_pass("east", 10);
    catch_up(&*views, &history).await;
    let across = BoundingBox { west: 170.0, south: -30.0, east: -170.0, north: 0.0 };
    for bounds in [WORLD, across] {
        let features = shown(&*views, bounds, 4).await;
        let [MapFeature::Cluster(Cluster { count: 2, lat, lon, expansion_zoom: Some(zoom) })] = features[..]
        else {
            panic!("{features:?}")
        };
        assert!((-16.8..-16.6).contains(&lat) && (lon + 179.95).abs() < 0.001, "{lat} {lon}");
        let near = BoundingBox { west: 179.5, south: -17.2, east: -179.5, north: -16.2 };
        assert_eq!(shown(&*views, near, zoom - 1).await.len(), 1);
        assert_eq!(shown(&*views, near, zoom).await.len(), 2);
    }
    let listed = views.pins_at(-16.79, 179.98, 10).await.expect("readable");
    assert_eq!(listed.iter().map(|pin| pin.city.as_str()).collect::<Vec<_>>(), ["Waiyevo"]);
}

pub async fn an_invalid_bounding_box_shows_nothing(subject: &dyn ViewsUnderTest) {
    let views = subject.views();
    let mut history = EventHistory::new();
    history.submit_and_pass("ada", 0);
    catch_up(&*views, &history).await;
    let nan = f64::NAN;
    for bounds in [
        BoundingBox { south: 90.0, north: -90.0, ..WORLD },
        BoundingBox { west: nan, ..WORLD },
        BoundingBox { north: nan, ..WORLD },
        BoundingBox { east: f64::INFINITY, ..WORLD },
    ] {
        assert_eq!(shown(&*views, bounds, 3).await, [], "{bounds:?}");
    }
    assert_eq!(shown(&*views, WORLD, 99).await.len(), 1, "a zoom too deep is the deepest");
    let outside = BoundingBox { west: -900.0, south: -900.0, east: 900.0, north: 900.0 };
    assert_eq!(shown(&*views, outside, 4).await.len(), 1);
}

async fn shown(views: &dyn ViewStore, bounds: BoundingBox, zoom: u8) -> Vec<MapFeature> {
    let MapView { features, .. } = views.pins(bounds, zoom).await.expect("readable");
    features
}

/// Returns the pins of a history and the totals, without the positions.
async fn views_of(views: &dyn ViewStore, history: &EventHistory) -> (Vec<Pin>, StatsView) {
    catch_up(views, history).await;
    let mut found: Vec<Pin> =
        pins(views).await.into_iter().map(|pin| Pin { position: Position::START, ..pin }).collect();
    found.sort_by(|one, other| one.owner.cmp(&other.owner));
    let stats = views.stats().await.expect("readable");
    (found, StatsView { position: Position::START, ..stats })
}

/// Returns all pins that are or were on the map.
async fn pins(views: &dyn ViewStore) -> Vec<Pin> {
    views.pins_changed(Position::START, 1000).await.expect("readable")
}

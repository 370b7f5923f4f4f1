//! The map, its streams and the overview of one venue.

use domain::SubmissionId;
use domain::submission::{Event, Submitted};
use event_store::Position;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{City, LONDON, Messages, TOKEN, TOKYO, World, passed, started, submitted};

/// Records a submission of a venue that passes.
async fn pass_at(world: &World, venue: &str, owner: &str, city: City) -> Position {
    let submitted = Submitted { venue: Some(venue.to_owned()), ..submitted(owner, city) };
    world.record(SubmissionId(Uuid::new_v4()), [Event::Submitted(submitted), started(1), passed(1)]).await
}

fn names(collection: &Value) -> Vec<&str> {
    let features = collection["features"].as_array().unwrap().iter();
    features.map(|feature| feature["properties"]["name"].as_str().unwrap_or("a cluster")).collect()
}

#[tokio::test]
async fn the_map_of_a_venue_has_its_own_pins_and_totals() {
    let world = World::new().await;
    pass_at(&world, "berlin", "ada", LONDON).await;
    pass_at(&world, "paris", "eve", LONDON).await;
    world.pass("nobody", LONDON).await;
    world.settle().await;
    let moment = jiff::Timestamp::now();
    pass_at(&world, "berlin", "ben", TOKYO).await;
    world.settle().await;

    let stats = world.json("/api/v1/stats?venue=berlin").await;
    assert_eq!(stats["submissions"]["passed"], 2);
    assert_eq!((&stats["pins"], &stats["places"]), (&json!(2), &json!(2)));
    assert_eq!(world.json("/api/v1/stats?venue=").await["pins"], 4, "an empty name stands for all");
    let pins = world.json("/api/v1/pins?zoom=3&venue=berlin").await;
    assert_eq!(names(&pins), ["ada of London", "ben of Tokyo"]);
    assert_eq!(pins["features"][0]["properties"]["venue"], "berlin");
    assert_eq!(
        names(&world.json("/api/v1/pins/newest?venue=berlin").await),
        ["ben of Tokyo", "ada of London"]
    );
    assert_eq!(names(&world.json("/api/v1/pins/search?q=ada&venue=berlin").await), ["ada of London"]);
    assert_eq!(names(&world.json("/api/v1/pins/search?q=ada&venue=paris").await), Vec::<&str>::new());
    let here = world.json("/api/v1/pins/at?lat=51.50853&lon=-0.12574&venue=paris").await;
    assert_eq!(names(&here), ["eve of London"]);

    let past = world.json(&format!("/api/v1/pins?zoom=3&venue=berlin&at={moment}")).await;
    assert_eq!(names(&past), ["ada of London"]);
    let past = world.json(&format!("/api/v1/stats?venue=berlin&at={moment}")).await;
    assert_eq!((&past["pins"], &past["places"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_venue_that_the_challenge_does_not_have_is_not_found() {
    let world = World::new().await;
    for path in [
        "/api/v1/stats?venue=rome",
        "/api/v1/pins?venue=rome",
        "/api/v1/pins/search?q=a&venue=rome",
        "/api/v1/pins/at?lat=1&lon=1&venue=rome",
        "/api/v1/pins/newest?venue=rome",
        "/api/v1/live?venue=rome",
    ] {
        let problem = world.problem(path, StatusCode::NOT_FOUND).await;
        assert!(problem["detail"].as_str().unwrap().contains("venue"), "{path}: {problem}");
    }
    world.problem("/api/v1/pins/newest", StatusCode::BAD_REQUEST).await;
    assert_eq!(world.get("/v/berlin").await.status(), StatusCode::OK);
    assert_eq!(world.get("/v/rome").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_stream_of_a_venue_has_its_own_passes_and_goes_on_after_the_last() {
    let world = World::new().await;
    pass_at(&world, "berlin", "ada", LONDON).await;
    world.settle().await;
    let mut berlin = Messages::open(&world, "/api/v1/live?venue=berlin", None).await;
    assert_eq!(berlin.next_named("stats").await.data["pins"], 1);
    pass_at(&world, "paris", "eve", LONDON).await;
    world.pass("nobody", LONDON).await;
    pass_at(&world, "berlin", "ben", LONDON).await;
    let pins = berlin.next_named("pins").await;
    assert_eq!(names(&pins.data), ["ben of London"]);
    assert_eq!(berlin.next_named("stats").await.data["pins"], 2);
    drop(berlin);

    pass_at(&world, "berlin", "cy", TOKYO).await;
    world.settle().await;
    let mut again = Messages::open_after(&world, "/api/v1/live?venue=berlin", Some(pins.whole_id)).await;
    assert_eq!(names(&again.next_named("pins").await.data), ["cy of Tokyo"]);
    // An owner who passes at another venue is gone from the first. The next frame may repeat the pin that the
    // listener has read for itself when it came back.
    pass_at(&world, "paris", "ada", TOKYO).await;
    loop {
        let pins = again.next_named("pins").await.data;
        let features = pins["features"].as_array().unwrap();
        if features.iter().any(|feature| feature["properties"]["passes"] == 0) {
            return;
        }
        assert_eq!(names(&pins), ["cy of Tokyo"]);
    }
}

#[tokio::test]
async fn the_overview_tells_the_role_and_the_names_that_wait_for_a_look() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    let act = domain::testing::act("a word");
    world.record(id, [Event::Hidden(domain::submission::Hidden { act, held: true })]).await;
    world.settle().await;
    let token = format!("Bearer {TOKEN}");
    let overview = world.get_with("/api/v1/organiser", &[("authorization", &token)]).await;
    let overview: Value = overview.json().await.unwrap();
    assert_eq!(overview["role"], "organiser");
    assert_eq!(overview["held"][0]["id"], id.to_string());
}

//! `GET /api/v1/stats` and `/api/v1/pins`.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{APIA, LONDON, SUVA, TOKYO, World, failed, rejudge, started};

fn ids(collection: &Value) -> Vec<&str> {
    assert_eq!(collection["type"], "FeatureCollection");
    let mut ids: Vec<&str> = collection["features"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|feature| feature["id"].as_str())
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn the_totals_are_counted_and_not_sent_twice() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    world.submit("bob", TOKYO).await;
    world.settle().await;
    let stats = world.json("/api/v1/stats").await;
    assert_eq!(stats["submissions"]["passed"], 1);
    assert_eq!(stats["submissions"]["submitted"], 1);
    assert_eq!(stats["pins"], 1);
    assert_eq!(stats["answers"]["vote"]["Rust"], 1);

    let etag = world.get("/api/v1/stats").await.headers()["etag"].to_str().unwrap().to_owned();
    let same = world.get_with("/api/v1/stats", &[("if-none-match", &etag)]).await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    world.submit("eve", LONDON).await;
    world.settle().await;
    assert_eq!(world.get_with("/api/v1/stats", &[("if-none-match", &etag)]).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_pin_has_all_public_data_and_nothing_else() {
    let world = World::new().await;
    let id = world.pass("ada", LONDON).await;
    world.settle().await;
    let pins = world.json("/api/v1/pins?bbox=-10,40,10,60&zoom=4").await;
    let [pin] = &pins["features"].as_array().unwrap()[..] else { panic!("one pin: {pins}") };
    assert_eq!(pin["id"], "docker.io/ada");
    assert_eq!(pin["geometry"], json!({ "type": "Point", "coordinates": [-0.12574, 51.50853] }));
    let properties = &pin["properties"];
    assert_eq!(properties["owner"], "docker.io/ada");
    assert_eq!(properties["name"], "ada of London");
    assert_eq!(properties["twitter"], "@ada");
    assert_eq!(properties["city"], "London");
    assert_eq!(properties["country"], "GB");
    assert_eq!(properties["answers"], json!({ "vote": "Rust" }));
    assert_eq!(properties["passes"], 1);
    assert!(properties["passed_at"].is_string());
    assert!(!pins.to_string().contains(&id.to_string()), "the id of a submission opens its status");
}

#[tokio::test]
async fn a_cluster_of_near_pins_splits_at_its_expansion_zoom() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    world.pass("bob", ("Croydon", "GB", 51.38333, -0.1)).await;
    world.pass("eve", TOKYO).await;
    world.settle().await;

    let wide = world.json("/api/v1/pins").await;
    let cluster =
        wide["features"].as_array().unwrap().iter().find(|spot| spot["properties"]["cluster"] == true);
    let properties = &cluster.expect("two are near")["properties"];
    assert_eq!(properties["point_count"], 2);
    let zoom = properties["expansion_zoom"].as_u64().expect("they are not at one place");
    let near = world.json(&format!("/api/v1/pins?bbox=-1,51,1,52&zoom={zoom}")).await;
    assert_eq!(ids(&near), ["docker.io/ada", "docker.io/bob"]);
}

#[tokio::test]
async fn pins_at_one_place_can_be_listed() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    world.pass("bob", LONDON).await;
    world.pass("eve", TOKYO).await;
    world.settle().await;
    let spots = world.json("/api/v1/pins?bbox=-1,51,1,52&zoom=16").await;
    let cluster = &spots["features"][0]["properties"];
    assert_eq!((&cluster["point_count"], &cluster["expansion_zoom"]), (&json!(2), &Value::Null));
    // Map libraries repeat the world, and count on beyond 180 degrees.
    for lon in ["-0.12574", "359.87426", "-360.12574", "719.87426"] {
        let here = world.json(&format!("/api/v1/pins/at?lat=51.50853&lon={lon}")).await;
        assert_eq!(ids(&here), ["docker.io/ada", "docker.io/bob"], "{lon}");
    }
    for query in ["", "?lat=51", "?lat=51&lon=east", "?lat=NaN&lon=0", "?lat=51&lon=inf", "?lat=91&lon=0"] {
        world.problem(&format!("/api/v1/pins/at{query}"), StatusCode::BAD_REQUEST).await;
    }
}

#[tokio::test]
async fn a_box_may_cross_the_antimeridian() {
    let world = World::new().await;
    world.pass("fiji", SUVA).await;
    world.pass("samoa", APIA).await;
    world.pass("ada", LONDON).await;
    world.settle().await;
    // Map libraries count on beyond 180 degrees.
    for bbox in ["170,-30,-160,0", "170,-30,200,0", "-190,-30,-160,0", "530,-30,560,0"] {
        let pacific = world.json(&format!("/api/v1/pins?bbox={bbox}&zoom=8")).await;
        assert_eq!(ids(&pacific), ["docker.io/fiji", "docker.io/samoa"], "{bbox}");
    }
    let twice_around = world.json("/api/v1/pins?bbox=-540,-80,540,80&zoom=5").await;
    assert_eq!(ids(&twice_around), ["docker.io/ada", "docker.io/fiji", "docker.io/samoa"]);
}

#[tokio::test]
async fn near_pins_on_both_sides_of_the_antimeridian_are_one_cluster() {
    let world = World::new().await;
    world.pass("west", ("Waiyevo", "FJ", -16.79, 179.9)).await;
    world.pass("east", ("Naselesele", "FJ", -16.69, -179.9)).await;
    world.settle().await;
    for query in
        ["", "?zoom=0", "?zoom=4", "?bbox=170,-30,-170,0&zoom=4", "?bbox=179.99,-30,-179.99,0&zoom=5"]
    {
        let pins = world.json(&format!("/api/v1/pins{query}")).await;
        let [cluster] = &pins["features"].as_array().unwrap()[..] else { panic!("{query}: {pins:#}") };
        assert_eq!(cluster["properties"]["point_count"], 2, "{query}");
        let lon = cluster["geometry"]["coordinates"][0].as_f64().unwrap();
        assert!(lon.abs() > 179.99 && lon.abs() <= 180.0, "{query}: {lon}");
    }
    let apart = world.json("/api/v1/pins?bbox=179.5,-17,-179.5,-16&zoom=12").await;
    assert_eq!(ids(&apart), ["docker.io/east", "docker.io/west"]);
}

#[tokio::test]
async fn a_wrong_box_or_zoom_is_refused_by_name() {
    let world = World::new().await;
    for bbox in ["1,2,3", "a,b,c,d", "NaN,0,0,0", "0,10,1,-10", "0,-91,0,0", "inf,0,0,0", ""] {
        let problem =
            world.problem(&format!("/api/v1/pins?bbox={bbox}&zoom=3"), StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["errors"][0]["field"], "bbox", "{bbox}");
    }
    for zoom in ["-1", "99", "17", "1.5", "x", "NaN", ""] {
        let problem = world.problem(&format!("/api/v1/pins?zoom={zoom}"), StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["errors"][0]["field"], "zoom", "{zoom}");
    }
    world.problem("/api/v1/pins?zoom=1&zoom=2", StatusCode::BAD_REQUEST).await;
}

#[tokio::test]
async fn pins_are_found_by_name_and_city() {
    let world = World::new().await;
    world.pass("ada", LONDON).await;
    world.pass("eve", TOKYO).await;
    world.settle().await;
    assert_eq!(ids(&world.json("/api/v1/pins/search?q=ADA").await), ["docker.io/ada"]);
    assert_eq!(ids(&world.json("/api/v1/pins/search?q=tok").await), ["docker.io/eve"]);
    assert_eq!(
        ids(&world.json("/api/v1/pins/search?q=%2e%2a").await),
        [""; 0],
        "it is a text, not a pattern"
    );
    let long = "x".repeat(101);
    for query in ["", "?q=", "?q=%20", &format!("?q={long}")] {
        let problem = world.problem(&format!("/api/v1/pins/search{query}"), StatusCode::BAD_REQUEST).await;
        assert_eq!(problem["errors"][0]["field"], "q");
    }
}

#[tokio::test]
async fn a_box_larger_than_any_screen_is_shown_in_less_detail_and_says_so() {
    let world = World::new().await;
    for (asked, shown) in [
        ("zoom=12", 5),
        ("zoom=3", 3),
        ("bbox=-0.02,51.49,0.02,51.51&zoom=16", 16),
        ("bbox=-89,-40,90,40&zoom=7", 6),
    ] {
        assert_eq!(world.json(&format!("/api/v1/pins?{asked}")).await["zoom"], shown, "{asked}");
    }
}

#[tokio::test]
async fn the_map_follows_a_new_verdict() {
    let world = World::new().await;
    let id = world.pass("ada", LONDON).await;
    world.record(id, [rejudge(), started(2), failed(2)]).await;
    world.settle().await;
    assert_eq!(ids(&world.json("/api/v1/pins?zoom=16").await), [""; 0]);
}

#[tokio::test]
async fn pages_of_other_sites_may_read_the_public_routes_only() {
    let world = World::new().await;
    let id = world.submit("ada", LONDON).await;
    let status = format!("/api/v1/submissions/{id}");
    for path in ["/api/v1/pins", "/api/v1/stats", "/stats", "/api/v1/live", status.as_str()] {
        let response = world.get_with(path, &[("origin", "https://blog.example")]).await;
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "{path}");
    }
    let preflight = world
        .client
        .request(reqwest::Method::OPTIONS, world.url("/api/v1/stats"))
        .header("origin", "https://blog.example")
        .header("access-control-request-method", "GET")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.headers()["access-control-allow-methods"], "GET");
    for path in ["/api/v1/history", "/api/v1/organiser", "/metrics"] {
        let response = world.get_with(path, &[("origin", "https://blog.example")]).await;
        assert!(response.headers().get("access-control-allow-origin").is_none(), "{path}");
    }
}

//! `/openapi.json` and `/docs`, the description of the API.

use std::collections::BTreeSet;

use domain::Event;
use reqwest::StatusCode;
use serde_json::Value;

use crate::world::World;

#[tokio::test]
async fn every_route_is_described() {
    let world = World::new().await;
    let api = world.json("/openapi.json").await;
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<&str> = api["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "/api/v1/history",
        "/api/v1/live",
        "/api/v1/map",
        "/api/v1/organiser",
        "/api/v1/pins",
        "/api/v1/pins/at",
        "/api/v1/pins/search",
        "/api/v1/sandbox",
        "/api/v1/stats",
        "/api/v1/submissions/{id}",
        "/api/v1/submissions/{id}/events",
        "/competition/{id}",
        "/healthz",
        "/metrics",
        "/readyz",
        "/stats",
    ];
    assert_eq!(BTreeSet::from_iter(paths), BTreeSet::from(expected));
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} says what it does");
            assert!(operation["operationId"].is_string(), "{method} {path}");
            assert!(operation["tags"].is_array(), "{method} {path}");
            assert!(operation["responses"]["200"].is_object(), "{method} {path} says what it answers");
            // Each placeholder of the path is a parameter.
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let named = |p: &Value| p["name"] == part && p["in"] == "path" && p["required"] == true;
                assert!(operation["parameters"].as_array().unwrap().iter().any(named), "{part} of {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_reference_has_a_target() {
    let world = World::new().await;
    let api = world.json("/openapi.json").await;
    let mut references = Vec::new();
    collect(&api, &mut references);
    assert!(references.len() > 10);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("it is within the document");
        assert!(api.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
}

#[tokio::test]
async fn the_description_is_shown_as_a_page() {
    let world = World::new().await;
    let page = world.get("/docs/").await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self'"));
    let html = page.text().await.unwrap();
    assert!(!html.contains("<script>"), "no script stands in the page itself");
    assert_eq!(world.get("/docs/swagger-ui.css").await.status(), StatusCode::OK);
    let start = world.get("/docs/swagger-initializer.js").await.text().await.unwrap();
    assert!(start.contains("/openapi.json"));
}

#[tokio::test]
async fn every_event_has_a_schema() {
    let world = World::new().await;
    let api = world.json("/openapi.json").await;
    let schema = &api["components"]["schemas"]["EventSchema"];
    let kinds = schema["oneOf"].as_array().unwrap().iter().map(|variant| {
        let kind = &variant["properties"]["type"]["enum"][0];
        assert!(variant["properties"]["data"]["$ref"].is_string(), "{kind} says which data it has");
        kind.as_str().unwrap()
    });
    assert_eq!(BTreeSet::from_iter(kinds), BTreeSet::from(Event::KINDS));
}

fn collect<'a>(value: &'a Value, references: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| collect(field, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

//! `/openapi.json` and `/docs`, the description of the API.

use std::collections::BTreeSet;
use std::sync::Arc;

use commands::{Commands, Gazetteer};
use domain::{Challenge, Event};
use reqwest::StatusCode;
use serde_json::Value;
use utoipa::openapi::OpenApi;

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
        "/api/v1/pins/newest",
        "/api/v1/pins/search",
        "/api/v1/sandbox",
        "/api/v1/stats",
        "/api/v1/submissions/{id}",
        "/api/v1/submissions/{id}/events",
        "/competition/{id}",
        "/healthz",
        "/metrics",
        "/readyz",
        "/readyz/verifying",
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
async fn the_description_says_enough_to_write_a_client() {
    let world = World::new().await;
    let log = Arc::new(world.store.clone());
    let commands = Commands::new(log, Arc::new(Challenge::birthday()));
    let write_api = commands::router(commands, Gazetteer::shipped(), Default::default()).into_openapi();
    // The program merges the routes of both APIs, so they share the operation ids and the names of schemas.
    let mut whole: OpenApi = world.get("/openapi.json").await.json().await.unwrap();
    whole.merge(write_api);
    let faults = faults(&serde_json::to_value(whole).unwrap());
    assert!(faults.is_empty(), "{faults:#?}");
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

/// Returns the places where a description is not good enough for people or for a generator of clients.
fn faults(api: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut ids = BTreeSet::new();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let operation_id = operation["operationId"].as_str().unwrap_or_default();
            if !ids.insert(operation_id) {
                faults.push(format!("{method} {path}: the operationId {operation_id:?} is not unique"));
            }
            for (place, schema) in contents(&operation["requestBody"]) {
                if schema["$ref"].is_null() && schema["properties"].is_null() {
                    faults.push(format!("{method} {path}: the body {place} has no fields"));
                }
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_error = status.starts_with(['4', '5']) && !path.starts_with("/readyz");
                for (_, schema) in contents(response) {
                    if is_error && schema["$ref"] != "#/components/schemas/Problem" {
                        faults.push(format!("{method} {path}: {status} is no problem document"));
                    }
                }
                if response["description"].as_str().is_none_or(str::is_empty) {
                    faults.push(format!("{method} {path}: {status} has no description"));
                }
            }
            for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
                if !is_described(parameter) {
                    faults.push(format!("{method} {path}: {} has no description", parameter["name"]));
                }
            }
        }
    }
    for (name, schema) in api["components"]["schemas"].as_object().unwrap() {
        undescribed_fields(name, schema, &mut faults);
    }
    faults
}

/// Returns the media types and schemas of a body or a response.
fn contents(body: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let contents = body["content"].as_object().into_iter().flatten();
    contents.map(|(media_type, content)| (media_type.as_str(), &content["schema"]))
}

/// Returns true if the value, or the alternative to `null` of an optional field, has a description of four words.
fn is_described(value: &Value) -> bool {
    let is_long = |value: &Value| {
        value["description"].as_str().is_some_and(|text| text.split_whitespace().count() >= 4)
    };
    is_long(value) || value["oneOf"].as_array().is_some_and(|alternatives| alternatives.iter().any(is_long))
}

fn undescribed_fields(place: &str, schema: &Value, faults: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        // The tag of a variant is a constant, and the variants of an event are described as a whole.
        let is_tag = field["enum"].as_array().is_some_and(|values| values.len() == 1);
        if !is_tag && !is_described(field) && !place.starts_with("EventSchema/") {
            faults
                .push(format!("{place}: {name} has no description of four words: {}", field["description"]));
        }
    }
    for composition in ["allOf", "oneOf", "anyOf"] {
        for (index, part) in schema[composition].as_array().into_iter().flatten().enumerate() {
            undescribed_fields(&format!("{place}/{index}"), part, faults);
        }
    }
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

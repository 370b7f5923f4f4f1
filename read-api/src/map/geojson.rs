//! The map as GeoJSON (RFC 7946). A cluster is a point whose properties have
//! `cluster: true`, as map libraries expect.

use std::collections::BTreeMap;

use jiff::Timestamp;
use projections::view::{Cluster, MapFeature, MapView, Pin};
use serde::Serialize;
use utoipa::ToSchema;

/// What the map shows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeatureCollection {
    /// Always `FeatureCollection`.
    r#type: &'static str,
    /// The spots.
    features: Vec<GeoJsonFeature>,
    /// The zoom at which the spots were clustered: the one asked for, unless
    /// the box is too large to be shown in such detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    zoom: Option<u8>,
}

/// One spot.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GeoJsonFeature {
    /// Always `Feature`.
    r#type: &'static str,
    /// A pin's owner: it has one pin, whose id never changes. Clusters have no id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Where.
    geometry: PointGeometry,
    /// What.
    properties: FeatureProperties,
}

/// A place.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointGeometry {
    /// Always `Point`.
    r#type: &'static str,
    /// Degrees east, degrees north.
    coordinates: [f64; 2],
}

/// What is at a spot.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FeatureProperties {
    /// One pin.
    Pin(PinProperties),
    /// Several.
    Cluster(ClusterProperties),
}

/// What is known of a pin; all of it is public.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PinProperties {
    /// The registry namespace that passed.
    owner: String,
    /// The participant's name.
    name: String,
    /// `@account`.
    twitter: Option<String>,
    /// The city.
    city: String,
    /// ISO 3166 code of two letters.
    country: String,
    /// Further answers, by field.
    answers: BTreeMap<String, String>,
    /// How many submissions of this owner passed.
    passes: u64,
    /// When the newest passed.
    #[schema(value_type = String, format = DateTime)]
    passed_at: Timestamp,
}

/// What is known of a cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterProperties {
    /// Always true.
    cluster: bool,
    /// How many pins.
    point_count: u64,
    /// The zoom at which it falls apart; `null` when its pins share one place.
    expansion_zoom: Option<u8>,
}

impl FeatureCollection {
    pub(crate) fn from_map(map: MapView) -> Self {
        let features = map.features.into_iter().map(GeoJsonFeature::from).collect();
        Self { r#type: "FeatureCollection", features, zoom: Some(map.zoom) }
    }

    /// Pins, one by one.
    pub(crate) fn of_pins(pins: Vec<Pin>) -> Self {
        let features = pins.into_iter().map(GeoJsonFeature::from).collect();
        Self { r#type: "FeatureCollection", features, zoom: None }
    }
}

impl GeoJsonFeature {
    fn new(id: Option<String>, lon: f64, lat: f64, properties: FeatureProperties) -> Self {
        let geometry = PointGeometry { r#type: "Point", coordinates: [lon, lat] };
        Self { r#type: "Feature", id, geometry, properties }
    }
}

impl From<Pin> for GeoJsonFeature {
    fn from(pin: Pin) -> Self {
        let properties = PinProperties {
            owner: pin.owner.clone(),
            name: pin.name,
            twitter: pin.twitter,
            city: pin.city,
            country: pin.country,
            answers: pin.answers,
            passes: pin.passes,
            passed_at: pin.passed_at,
        };
        Self::new(Some(pin.owner), pin.lon, pin.lat, FeatureProperties::Pin(properties))
    }
}

impl From<MapFeature> for GeoJsonFeature {
    fn from(feature: MapFeature) -> Self {
        match feature {
            MapFeature::Pin(pin) => pin.into(),
            MapFeature::Cluster(Cluster { count, lat, lon, expansion_zoom }) => {
                let properties = ClusterProperties { cluster: true, point_count: count, expansion_zoom };
                Self::new(None, lon, lat, FeatureProperties::Cluster(properties))
            }
        }
    }
}

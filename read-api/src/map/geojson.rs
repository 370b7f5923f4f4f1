//! The map as GeoJSON (RFC 7946). A cluster is a point whose properties have `cluster: true`, as map libraries expect.

use std::collections::BTreeMap;

use jiff::Timestamp;
use projections::view::{Cluster, MapFeature, MapView, Pin};
use serde::Serialize;
use utoipa::ToSchema;

/// The pins and clusters of a part of the map.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeatureCollection {
    /// The constant `FeatureCollection` of GeoJSON.
    r#type: &'static str,
    /// The pins and clusters of the collection.
    features: Vec<GeoJsonFeature>,
    /// The zoom of the clusters. It is the zoom of the request, unless the box is too large to be shown in such detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    zoom: Option<u8>,
}

/// A pin or a cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GeoJsonFeature {
    /// The constant `Feature` of GeoJSON.
    r#type: &'static str,
    /// The pin's owner. An owner has one pin, so this id never changes. A cluster has no id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The position of the feature.
    geometry: PointGeometry,
    /// The properties of the pin or the cluster.
    properties: FeatureProperties,
}

/// A position on the map.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointGeometry {
    /// The constant `Point` of GeoJSON.
    r#type: &'static str,
    /// The longitude in degrees east and the latitude in degrees north.
    coordinates: [f64; 2],
}

/// The properties of a pin or of a cluster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FeatureProperties {
    /// The properties of one pin.
    Pin(PinProperties),
    /// The properties of a cluster of pins.
    Cluster(ClusterProperties),
}

/// The public data of a pin.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PinProperties {
    /// The registry namespace that passed.
    owner: String,
    /// The name of the participant.
    name: String,
    /// The participant's Twitter account: `@account`.
    #[schema(required)]
    twitter: Option<String>,
    /// The name of the city.
    city: String,
    /// The ISO 3166 code of the country, two letters.
    country: String,
    /// The short name of the participant's venue. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    venue: Option<String>,
    /// The participant's answers, by field.
    answers: BTreeMap<String, String>,
    /// The number of the owner's submissions that passed; 0 if the pin is gone.
    passes: u64,
    /// The time of the newest pass.
    passed_at: Timestamp,
}

/// The data of a cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterProperties {
    /// The constant `true`, which marks a cluster.
    cluster: bool,
    /// The number of pins in the cluster.
    point_count: u64,
    /// The zoom at which the cluster splits; `null` if it does not split at any zoom.
    #[schema(required)]
    expansion_zoom: Option<u8>,
}

impl FeatureCollection {
    pub(crate) fn from_map(map: MapView) -> Self {
        let features = map.features.into_iter().map(GeoJsonFeature::from).collect();
        Self { r#type: "FeatureCollection", features, zoom: Some(map.zoom) }
    }

    /// Creates a collection of single pins, which has no zoom.
    pub(crate) fn from_pins(pins: Vec<Pin>) -> Self {
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
            venue: pin.venue,
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

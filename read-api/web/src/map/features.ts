// The features of the map: pins and clusters.
import type { ClusterFeature, MapFeature } from "../lib/api";

/** In pixels. */
export const PIN_RADIUS = 7;

/** Returns true if the feature is a cluster. */
export function isCluster(feature: MapFeature): feature is ClusterFeature {
  return "cluster" in feature.properties;
}

/** Returns the number of pins that a feature stands for. */
export function pinsOf(feature: MapFeature): number {
  return isCluster(feature) ? feature.properties.point_count : 1;
}

/** Returns the radius in pixels. It grows with the logarithm of the number of pins, up to a size at which two discs do not overlap. */
export function radiusOf(feature: MapFeature): number {
  return isCluster(feature)
    ? Math.min(12 + 2.6 * Math.log10(feature.properties.point_count), 24)
    : PIN_RADIUS;
}

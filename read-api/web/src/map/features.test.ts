import { expect, test } from "vitest";
import type { ClusterFeature, PinFeature } from "../lib/api";
import { isCluster, PIN_RADIUS, pinsOf, radiusOf } from "./features";

const geometry = { coordinates: [2, 48] as [number, number] };
const pin: PinFeature = {
  id: "docker.io/ada",
  geometry,
  properties: {
    owner: "docker.io/ada",
    name: "Ada",
    twitter: null,
    city: "Paris",
    country: "FR",
    answers: {},
    passes: 1,
    passed_at: "2016-03-21T12:00:00Z",
  },
};
const cluster = (count: number): ClusterFeature => ({
  geometry,
  properties: { cluster: true, point_count: count, expansion_zoom: null },
});

test("a cluster stands for its pins", () => {
  expect([isCluster(pin), isCluster(cluster(2))]).toEqual([false, true]);
  expect([pinsOf(pin), pinsOf(cluster(40))]).toEqual([1, 40]);
});

test("the radius grows with the pins, up to a bound", () => {
  const radii = [pin, ...[2, 10, 1000, 1e6, 1e9].map(cluster)].map(radiusOf);
  expect(radii[0]).toBe(PIN_RADIUS);
  expect(radii).toEqual([...radii].sort((one, other) => one - other));
  expect(radii.at(-1)).toBe(24);
});

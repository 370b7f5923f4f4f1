import { expect, test } from "vitest";
import { readView, type View, writeView } from "./view-address";

test("a view survives its address", () => {
  const views: View[] = [
    { zoom: 0, lat: 0, lon: 0, pin: null },
    { zoom: 4.25, lat: -33.87, lon: 151.21, pin: null },
    { zoom: 12, lat: 48.8566, lon: 2.3522, pin: { lat: 48.85661, lon: 2.35222, owner: "docker.io/ada" } },
    { zoom: 3, lat: 90, lon: -180, pin: { lat: 1, lon: 2, owner: "registry.test:5000/näme/50%" } },
  ];
  for (const view of views) expect(readView(writeView(view))).toEqual(view);
});

test("an address that names no view is refused", () => {
  for (const hash of ["", "#", "#4", "#4/north/2", "#4/91/0", "#4//0", "#4/0/Infinity"])
    expect(readView(hash)).toBeNull();
});

test("degrees beyond 180 are wrapped, as other maps write them", () => {
  for (const [written, lon] of [
    ["181", -179],
    ["-190", 170],
    ["375", 15],
    ["540", -180],
  ]) {
    const view = { zoom: 4, lat: 1, lon, pin: { lat: 1, lon, owner: "ada" } };
    expect(readView(`#4/1/${written}/1,${written}/ada`)).toEqual(view);
  }
});

test("a wrong pin leaves the view", () => {
  const view = { zoom: 4, lat: 1, lon: 2, pin: null };
  for (const pin of ["", "1,2", "1,2/", "95,2/ada", "1/ada", "1,2/%E0%A4"]) {
    expect(readView(`#4/1/2/${pin}`)).toEqual(view);
  }
});

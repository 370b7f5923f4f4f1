import { expect, test } from "vitest";
import { boxFor, covers, serverZoom, type Screen } from "./source";

function screen(zoom: number, west: number, south: number, east: number, north: number): Screen {
  const bounds = { getWest: () => west, getSouth: () => south, getEast: () => east, getNorth: () => north };
  return { bounds, zoom };
}

test("the zoom of a request is rounded down", () => {
  expect([-1, 0, 3.5, 3.999, 4].map(serverZoom)).toEqual([0, 0, 3, 4, 4]);
});

test("the box covers the screen with a margin, and stays on the map", () => {
  const near = screen(5, 1, 45, 9, 51);
  const box = boxFor(near);
  expect(covers(box, near.bounds)).toBe(true);
  expect([box.west < 1, box.south < 45, box.east > 9, box.north > 51]).toEqual([true, true, true, true]);
  expect(boxFor(screen(0, -300, -85, 300, 85))).toMatchObject({
    west: -180,
    south: -90,
    east: 180,
    north: 90,
  });
});

test("neighbouring screens have the same box", () => {
  expect(boxFor(screen(5, 1, 45, 9, 51)).key).toBe(boxFor(screen(5.2, 1.1, 45.1, 9.1, 51.1)).key);
  expect(boxFor(screen(5, 1, 45, 9, 51)).key).not.toBe(boxFor(screen(6, 1, 45, 9, 51)).key);
});

test("a box does not cover a screen beyond its edge", () => {
  const box = boxFor(screen(5, 1, 45, 9, 51));
  expect(covers(box, screen(5, 1, 45, box.east + 1, 51).bounds)).toBe(false);
  expect(covers(boxFor(screen(0, -180, -85, 180, 85)), screen(0, -400, -89, 400, 89).bounds)).toBe(true);
});

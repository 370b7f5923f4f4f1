import { expect, test } from "vitest";
import type { PinFeature } from "../lib/api";
import { Newest, ROWS } from "./newest";

function pin(number: number, passes = 1): PinFeature {
  const passed_at = new Date(number * 1000).toISOString();
  const properties = {
    owner: `o${number}`,
    name: "",
    twitter: null,
    city: "",
    country: "",
    answers: {},
    passes,
    passed_at,
  };
  return { geometry: { coordinates: [0, 0] }, properties };
}

const owners = (newest: Newest): string[] => newest.pins.map(({ properties }) => properties.owner);

test("the list has the newest passes and never more than its rows", () => {
  const newest = new Newest();
  for (let number = 1; number <= 100; number += 1) newest.change([pin(number)]);
  expect(owners(newest)).toHaveLength(ROWS);
  expect(owners(newest)[0]).toBe("o100");
  // A corrected name is no new pass.
  newest.change([pin(3)]);
  expect(owners(newest)).not.toContain("o3");
});

test("a pin that is gone leaves room for another", () => {
  const newest = new Newest();
  newest.reset([pin(1), pin(2)]);
  expect(newest.change([pin(9, 0)])).toBe(false);
  expect(newest.change([pin(2, 0)])).toBe(true);
  expect(owners(newest)).toEqual(["o1"]);
});

import { expect, test } from "vitest";
import { pauseUntilAsking, untilNextPhase } from "./period";

const period = { opens: "2026-03-21T12:00:00Z", closes: "2026-03-22T12:00:00Z" };
const at = Date.parse;

test("the page asks again when the phase changes, and at least once a day until then", () => {
  const before = { ...period, phase: "before" };
  expect(untilNextPhase(before, at("2026-03-21T11:59:00Z"))).toBe(60_000);
  expect(untilNextPhase(before, at("2026-03-20T11:00:00Z"))).toBe(24 * 3600 * 1000);
  expect(untilNextPhase({ ...period, phase: "open" }, at("2026-03-22T11:59:59Z"))).toBe(1000);
  expect(untilNextPhase({ ...period, phase: "after" }, at("2026-03-23T00:00:00Z"))).toBeNull();
  expect(untilNextPhase({ opens: null, closes: null, phase: "open" }, 0)).toBeNull();
});

test("a reader whose clock is ahead of the server's asks soon, and never in the past", () => {
  expect(untilNextPhase({ ...period, phase: "before" }, at("2026-03-21T12:00:05Z"))).toBe(0);
});

test("while the phase should have changed, the pauses grow to half a minute", () => {
  expect(pauseUntilAsking(60_000, 7)).toBe(60_000);
  expect(pauseUntilAsking(1, 7)).toBe(1000);
  expect([0, 1, 2, 5, 4000].map((asked) => pauseUntilAsking(0, asked))).toEqual([
    1000, 2000, 4000, 30_000, 30_000,
  ]);
});

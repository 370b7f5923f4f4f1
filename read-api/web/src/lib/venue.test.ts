import { expect, test } from "vitest";
import { atVenue, claimQuery, venueClaim } from "./venue";

test("a claim is read from an address and written into another", () => {
  expect(venueClaim("?venue=berlin&venue_code=K7QF&again=1")).toEqual({ venue: "berlin", code: "K7QF" });
  expect(venueClaim("?venue=%20")).toEqual({ venue: null, code: null });
  expect(claimQuery({ venue: "berlin", code: null })).toBe("?venue=berlin");
  expect(claimQuery({ venue: "berlin", code: "K 7" })).toBe("?venue=berlin&venue_code=K+7");
  expect(claimQuery({ venue: null, code: null })).toBe("");
});

test("a path is limited to a venue", () => {
  expect(atVenue("/api/v1/live", "berlin")).toBe("/api/v1/live?venue=berlin");
  expect(atVenue("/api/v1/pins?zoom=1", "a&b")).toBe("/api/v1/pins?zoom=1&venue=a%26b");
  expect(atVenue("/api/v1/live", null)).toBe("/api/v1/live");
});

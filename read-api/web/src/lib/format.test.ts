import { expect, test } from "vitest";
import {
  approximateDuration,
  compact,
  count,
  country,
  dateTime,
  duration,
  foundPlace,
  mebibytes,
  ordinal,
  percent,
  placeName,
} from "./format";

test("numbers are grouped, and short where there is little room", () => {
  expect(count(1, "pin")).toBe("1 pin");
  expect(count(12_345, "pin")).toBe("12,345 pins");
  expect(count(2, "pass", "passes")).toBe("2 passes");
  expect([compact(999), compact(12_345)]).toEqual(["999", "12.3K"]);
  expect(percent(0.337)).toBe("34%");
  expect(mebibytes(12.34 * 1024 * 1024)).toBe("12.3 MiB");
});

test("ordinals have their English endings", () => {
  expect([1, 2, 3, 4, 11, 12, 13, 21, 102].map(ordinal)).toEqual([
    "1st",
    "2nd",
    "3rd",
    "4th",
    "11th",
    "12th",
    "13th",
    "21st",
    "102nd",
  ]);
});

test("a duration has the unit that fits", () => {
  expect([-5, 12, 3400, 125_000, 11_400_000].map(duration)).toEqual([
    "0 ms",
    "12 ms",
    "3.4 s",
    "2 min 5 s",
    "3 h 10 min",
  ]);
});

test("an expected duration is said roughly", () => {
  expect([3, 31, 60, 130, 7300].map(approximateDuration)).toEqual([
    "a few seconds",
    "about 40 seconds",
    "about a minute",
    "about 2 minutes",
    "about 2 hours",
  ]);
});

test("a moment of today has no date", () => {
  expect(dateTime(new Date().toISOString())).not.toContain(",");
  expect(dateTime("2016-03-21T12:00:00Z")).toBe("Mar 21, 2016, 12:00 PM");
});

test("a code that is no country's is shown as it is", () => {
  expect([country("NZ"), country("not a code")]).toEqual(["New Zealand", "not a code"]);
});

test("a place whose city and country have one name is named once", () => {
  expect(placeName("Zürich", "CH")).toBe("Zürich, Switzerland");
  expect(placeName("Singapore", "SG")).toBe("Singapore");
});

test("a place that was typed as it was found is said once", () => {
  for (const typed of ["London, United Kingdom", "london, UK", "London, GB", "London", "London, U.K."])
    expect(foundPlace(typed, "London", "GB")).toBe("London, United Kingdom");
  expect(foundPlace("Springfield, Illinois, US", "Springfield", "US")).toBe(
    "Springfield, Illinois, United States",
  );
  expect(foundPlace("sao paulo, Brazil", "São Paulo", "BR")).toBe("São Paulo, Brazil");
  expect(foundPlace("Singapore", "Singapore", "SG")).toBe("Singapore");
  expect(foundPlace("NYC", "New York City", "US")).toBe("NYC → New York City, United States");
  expect(foundPlace("Paris, Texas", "Paris", "US")).toBe("Paris, Texas → Paris, United States");
});

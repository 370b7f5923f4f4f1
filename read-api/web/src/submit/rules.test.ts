import { expect, test } from "vitest";
import type { Entry } from "../lib/api";
import { check, expectedAnswer } from "./rules";
import { challenge } from "./testing";

const ada: Entry = { name: "Ada", location: "London, UK", images: ["ada/app"], vote: "Go" };

function wrong(changes: Partial<Entry>): string[] {
  return [...check({ ...ada, ...changes }, challenge).keys()];
}

test("an entry within the rules has no errors", () => {
  expect(wrong({})).toEqual([]);
  expect(wrong({ twitter: "@ada_l", motto: "On" })).toEqual([]);
});

test("each field that breaks the server's rules is named", () => {
  expect(wrong({ name: "Al" })).toEqual(["name"]);
  expect(wrong({ name: "x".repeat(51) })).toEqual(["name"]);
  expect(wrong({ twitter: "ada" })).toEqual(["twitter"]);
  expect(wrong({ twitter: "@a-b" })).toEqual(["twitter"]);
  expect(wrong({ location: "" })).toEqual(["location"]);
  expect(wrong({ location: "x".repeat(101) })).toEqual(["location"]);
  expect(wrong({ images: [] })).toEqual(["images[0]"]);
  expect(wrong({ images: ["ada/app", "https://docker.io/ada"] })).toEqual(["images[1]"]);
  expect(wrong({ images: ["Ada/app"] })).toEqual(["images[0]"]);
  expect(wrong({ images: ["nginx"] })).toEqual(["images[0]"]);
  expect(wrong({ vote: undefined })).toEqual(["vote"]);
  expect(wrong({ motto: "x".repeat(51) })).toEqual(["motto"]);
});

test("lengths are in Unicode characters", () => {
  expect(wrong({ name: "🐳".repeat(50) })).toEqual([]);
  expect(wrong({ name: "🐳🐳" })).toEqual(["name"]);
});

test("the rules are the challenge's, not the page's", () => {
  const strict = { ...challenge, fields: { ...challenge.fields, name: { min_chars: 5, max_chars: 6 } } };
  expect(check(ada, strict).get("name")).toBe("A name has 5 to 6 characters.");
});

test("the expected answer has the compared fields, the empty ones too", () => {
  expect(expectedAnswer(ada, challenge)).toEqual({ name: "Ada", twitter: "", repo: ["ada/app"], vote: "Go" });
});

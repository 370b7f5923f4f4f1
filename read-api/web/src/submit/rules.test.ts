import { expect, test } from "vitest";
import type { Entry } from "../lib/api";
import names from "../../../../domain/testdata/names.json";
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
  expect(wrong({ name: "" })).toEqual(["name"]);
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

test("a name is counted as people count, by the server's own table", () => {
  const strict = { ...challenge, fields: { ...challenge.fields, name: { min_chars: 2, max_chars: 3 } } };
  for (const name of ["Bo", "王伟", "👨‍👩‍👧‍👦".repeat(3), "e\u0301".repeat(3)])
    expect(check({ ...ada, name }, strict).has("name"), name).toBe(false);
  for (const name of ["B", "👨‍👩‍👧‍👦", "e\u0301", "Anna"])
    expect(check({ ...ada, name }, strict).has("name"), name).toBe(true);
  for (const name of names.taken) expect(wrong({ name: name.trim() }), name).toEqual([]);
  // The server refuses more: it knows what a character hides at its place.
  const refused = names.refused.filter((name) => wrong({ name: name.trim() }).length > 0);
  expect(refused.length).toBeGreaterThan(names.refused.length * 0.8);
});

test("a pasted command or address is left to the server", () => {
  for (const image of [
    "docker pull ada/app:1",
    "https://hub.docker.com/r/ada/app",
    "Docker.io/ada/app",
    "registry.test:5000/ada/app:V1",
    "ada/app:V1",
  ])
    expect(wrong({ images: [image] }), image).toEqual([]);
  for (const image of ["Ada/app", "docker.io/Ada/app", "https://docker.io/ada", "nginx:1"])
    expect(wrong({ images: [image] }), image).toEqual(["images[0]"]);
});

test("the rules are the challenge's, not the page's", () => {
  const strict = { ...challenge, fields: { ...challenge.fields, name: { min_chars: 5, max_chars: 6 } } };
  expect(check(ada, strict).get("name")).toBe("A name has 5 to 6 characters that can be seen.");
});

test("the expected answer has the compared fields, the empty ones too", () => {
  expect(expectedAnswer(ada, challenge)).toEqual({ name: "Ada", twitter: "", repo: ["ada/app"], vote: "Go" });
});

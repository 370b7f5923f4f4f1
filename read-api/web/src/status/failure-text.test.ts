import { expect, test } from "vitest";
import description from "../../openapi.json";
import { FAILURE_TEXTS, failureText, INTERRUPTION_TITLES, interruptionTitle } from "./failure-text";

const { FailureCode, InterruptionCode } = description.components.schemas;

test("each failure code of the API has a text, and no other code has", () => {
  expect(Object.keys(FAILURE_TEXTS).sort()).toEqual([...FailureCode.enum].sort());
});

test("each interruption code of the API has a title, and no other code has", () => {
  expect(Object.keys(INTERRUPTION_TITLES).sort()).toEqual([...InterruptionCode.enum].sort());
});

test("a code that is newer than the page is shown by its name", () => {
  expect(failureText("too_green").title).toBe("too green");
  expect(interruptionTitle("full_moon")).toBe("full moon");
});

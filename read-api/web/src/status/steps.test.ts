import { expect, test } from "vitest";
import type { TimelineEntry } from "../lib/api";
import { presentStep } from "./steps";

/** Returns the title of the present step after events of these types. */
function after(...types: TimelineEntry["type"][]): string {
  return presentStep({ timeline: types.map((type) => ({ type }) as TimelineEntry) });
}

test("the present step follows the last event", () => {
  expect(after("Submitted")).toBe("Waiting for its turn");
  expect(after("Submitted", "VerificationStarted", "ImagesPulled", "ContainersStarted")).toBe(
    "Asking the apps",
  );
  expect(after("Submitted", "VerificationStarted", "Probed", "Passed")).toBe("");
  expect(after("Submitted", "VerificationInterrupted", "GivenUp")).toBe("");
  expect(after()).toBe("");
});

test("hiding and showing are no steps, and a withdrawal ends them", () => {
  const once = ["Submitted", "VerificationStarted", "ImagesPulled", "ContainersStarted"] as const;
  expect(after(...once, "Hidden")).toBe("Asking the apps");
  expect(after(...once, "Hidden", "Shown", "ContainersStarted")).toBe(
    "Asking once more before a failure counts",
  );
  expect(after("Submitted", "Withdrawn")).toBe("");
});

test("a second run of an attempt says why it takes longer", () => {
  const once = ["Submitted", "VerificationStarted", "ImagesPulled", "ContainersStarted"] as const;
  expect(after(...once, "ContainersStarted")).toBe("Asking once more before a failure counts");
  expect(after(...once, "VerificationInterrupted", "VerificationStarted", "ContainersStarted")).toBe(
    "Asking the apps",
  );
});

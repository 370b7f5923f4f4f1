import { expect, test } from "vitest";
import type { Status, Submission, TimelineEntry } from "../lib/api";
import { canWithdraw } from "./withdrawal";

function can(status: Status, ...types: TimelineEntry["type"][]): boolean {
  return canWithdraw({ status, timeline: types.map((type) => ({ type }) as TimelineEntry) });
}

test("a submission that stands still cannot be withdrawn", () => {
  const standstill = { message: "It waits for a newer version." } as NonNullable<Submission["standstill"]>;
  expect(canWithdraw({ status: "verifying", timeline: [], standstill })).toBe(false);
});

test("a submission can be withdrawn until its first verdict", () => {
  expect(can("submitted", "Submitted")).toBe(true);
  expect(can("verifying", "Submitted", "VerificationStarted")).toBe(true);
  expect(can("passed", "Submitted", "VerificationStarted", "Passed")).toBe(false);
  expect(can("submitted", "Submitted", "VerificationStarted", "Failed", "RejudgeRequested")).toBe(false);
  expect(can("withdrawn", "Submitted", "Withdrawn")).toBe(false);
});

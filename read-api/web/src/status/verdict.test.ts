import { expect, test } from "vitest";
import type { Submission } from "../lib/api";
import { verdictSentence } from "./verdict";

test("a submission that stands still says why, whatever its status", () => {
  const standstill = { message: "It waits for a newer version." } as Submission["standstill"];
  for (const status of ["submitted", "verifying", "passed"] as const)
    expect(verdictSentence({ status, standstill } as Submission, null)).toBe("It waits for a newer version.");
});

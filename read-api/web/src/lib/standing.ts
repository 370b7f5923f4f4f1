// How a submission stands, in a word.
import type { Submission } from "./api";

const NAMES = {
  submitted: "Waiting",
  verifying: "Being verified",
  passed: "Passed",
  failed: "Not yet",
  withdrawn: "Withdrawn",
  given_up: "Not run",
};

/** Returns the word for how a submission stands. */
export function standingOf({ status, standstill }: Pick<Submission, "status" | "standstill">): string {
  return standstill ? "It stands still" : NAMES[status];
}

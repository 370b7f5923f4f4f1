// The period in which the challenge takes submissions, in the reader's local time.
import type { Challenge } from "./api";
import { el } from "./dom";
import { fullDateTime } from "./format";

type Period = Pick<Challenge, "opens" | "closes" | "phase">;

/** The longest time until a moment at which the page asks the server again: a browser's timers have a bound. */
const AHEAD_MAX_MS = 24 * 3600 * 1000;

/** The first and the longest pause before the phase is asked for again, if it should have changed. */
const PAUSES_MS = [1000, 30_000] as const;

/** Returns a sentence about the period, or `null` if the challenge is always open. */
export function periodSentence({ opens, closes, phase }: Period): HTMLElement | null {
  const sentence = (before: string, moment: string, after: string): HTMLElement =>
    el("span", {}, before, el("time", { datetime: moment }, fullDateTime(moment)), after);
  if (phase === "before" && opens !== null) return sentence("Submissions are taken from ", opens, " on.");
  if (phase === "after" && closes !== null)
    return sentence("This challenge closed on ", closes, ". Everything stays to be read.");
  return closes === null ? null : sentence("Submissions are taken until ", closes, ".");
}

/** Returns the time until the phase changes, at most a day, or `null` if it stays. */
export function untilNextPhase({ opens, closes, phase }: Period, now: number): number | null {
  const moment = { before: opens, open: closes, after: null }[phase as "before" | "open" | "after"] ?? null;
  if (moment === null) return null;
  return Math.min(Math.max(0, Date.parse(moment) - now), AHEAD_MAX_MS);
}

/**
 * Returns the time until the page asks for the phase, if the phase should change after `left`. `asked` is the number of
 * times that it has asked since then: the reader's clock may be ahead, or the server may not answer.
 */
export function pauseUntilAsking(left: number, asked: number): number {
  return left > 0 ? Math.max(PAUSES_MS[0], left) : Math.min(PAUSES_MS[0] * 2 ** asked, PAUSES_MS[1]);
}

// A submission's timeline as steps: the past ones, the present one, and those that follow.
import type { ImageProbe, Submission, TimelineEntry } from "../lib/api";
import { el, foreign } from "../lib/dom";
import { mebibytes, dateTime, fullDateTime, duration, number } from "../lib/format";
import { familiar } from "../lib/image-name";
import { failureText, type Stage } from "./failure-text";

interface Step {
  title: string;
  state: "done" | "good" | "bad" | "now" | "ahead";
  at?: string;
  /** The start of the present step. */
  since?: string;
  details?: (Node | string)[];
}

interface PresentStep {
  title: string;
  /** The number of `STEPS` that are done or under way. */
  ahead: number;
}

/** The number of events at the beginning of a timeline after which it may leave some out. */
const FIRST = 50;
/** The steps of an attempt, in order. */
const STEPS = ["Pull the images", "Start the containers", "Ask the apps", "Decide"];
/** For each event, the present step after it. */
const PRESENT_STEP: Partial<Record<TimelineEntry["type"], PresentStep>> = {
  Submitted: { title: "Waiting for its turn", ahead: 0 },
  RejudgeRequested: { title: "Waiting for its turn", ahead: 0 },
  VerificationInterrupted: { title: "Waiting to be tried again", ahead: 0 },
  VerificationStarted: { title: "Pulling the images", ahead: 1 },
  ImagesPulled: { title: "Starting the containers", ahead: 2 },
  ContainersStarted: { title: "Asking the apps", ahead: 3 },
  Probed: { title: "Deciding", ahead: 4 },
};

/** The title of the step that `Probed` records, by the stage that was reached. */
const REACHED: Record<Stage, string> = { pull: "Looked up", run: "Run", ask: "Asked" };

/** Returns the steps as a list. */
export function stepList(submission: Submission): HTMLElement {
  const past = submission.timeline.map(pastStep);
  const omitted = submission.timeline_omitted ?? 0;
  if (omitted > 0) past.splice(FIRST, 0, { title: `${number(omitted)} more events`, state: "done" });
  const last = stepsOf(submission.timeline).at(-1);
  const now = submission.standstill ? undefined : presentStepOf(submission.timeline);
  const ahead: Step[] =
    now === undefined
      ? []
      : [
          { title: now.title, state: "now", ...(last === undefined ? {} : { since: last.at }) },
          ...STEPS.slice(now.ahead).map((title): Step => ({ title, state: "ahead" })),
        ];
  return el("ol", { class: "steps" }, ...[...past, ...ahead].map(item));
}

/** Updates the duration of the present step. */
export function updateElapsed(within: Element): void {
  for (const element of within.querySelectorAll<HTMLElement>("[data-since]")) {
    const seconds = Math.floor((Date.now() - Date.parse(element.dataset["since"] ?? "")) / 1000);
    element.textContent = seconds < 1 ? "" : `${duration(seconds * 1000)} so far`;
  }
}

/** Returns the title of the present step. */
export function presentStep({ timeline }: Pick<Submission, "timeline">): string {
  return presentStepOf(timeline)?.title ?? "";
}

function presentStepOf(entries: TimelineEntry[]): PresentStep | undefined {
  const timeline = stepsOf(entries);
  const last = timeline.at(-1);
  if (last === undefined) {
    return undefined;
  }
  return isSecondStart(timeline, timeline.length - 1)
    ? { title: "Asking once more before a failure counts", ahead: 3 }
    : PRESENT_STEP[last.type];
}

/** Returns the entries that are steps. Hiding and showing change the map, and no step. */
function stepsOf(timeline: TimelineEntry[]): TimelineEntry[] {
  return timeline.filter(({ type }) => type !== "Hidden" && type !== "Shown" && type !== "NameCorrected");
}

/** Returns true for the start of an attempt's second run, which confirms a failure. */
function isSecondStart(timeline: TimelineEntry[], index: number): boolean {
  return timeline[index]?.type === "ContainersStarted" && timeline[index - 1]?.type === "ContainersStarted";
}

function pastStep(entry: TimelineEntry, index: number, all: TimelineEntry[]): Step {
  const since = all[index - 1]?.at;
  const spent = since === undefined ? "" : duration(Date.parse(entry.at) - Date.parse(since));
  const described = describe(entry, spent);
  const title = isSecondStart(all, index) ? "Containers started once more, to be sure" : described.title;
  return { at: entry.at, ...described, title };
}

function describe(entry: TimelineEntry, spent: string): Step {
  switch (entry.type) {
    case "Submitted":
      return { title: "Accepted", state: "done" };
    case "VerificationStarted":
      return {
        title: entry.data.attempt === 1 ? "Its turn came" : `Its turn came, attempt ${entry.data.attempt}`,
        state: "done",
        details: [el("p", {}, `after ${spent}`)],
      };
    case "ImagesPulled":
      return {
        title: "Images pulled",
        state: "done",
        details: entry.data.images.map(({ image, node, size_bytes, took_ms }) =>
          el("p", {}, name(image), `: ${mebibytes(size_bytes)} in ${duration(took_ms)}, on `, foreign(node)),
        ),
      };
    case "ContainersStarted":
      return {
        title: "Containers started",
        state: "done",
        details: entry.data.images.map(({ image, node, took_ms }) =>
          el("p", {}, name(image), `: in ${duration(took_ms)}, on `, foreign(node)),
        ),
      };
    case "Probed":
      return {
        title: REACHED[furthest(entry.data.images)],
        state: "done",
        details: entry.data.images.map(probe),
      };
    case "Passed":
      return { title: "Passed", state: "good" };
    case "Failed":
      return { title: "Not passed", state: "bad" };
    case "VerificationInterrupted":
      return {
        title: "Broken off, by no fault of yours",
        state: "done",
        details: [el("p", {}, entry.data.message)],
      };
    case "RejudgeRequested":
      return {
        title: "An organiser asks for another verdict",
        state: "done",
        details: [el("p", {}, foreign(entry.data.why), " – ", foreign(entry.data.by))],
      };
    case "Hidden":
      return {
        title: entry.data.held
          ? "It waits for an organiser's look before it is on the map"
          : "An organiser hid it from the map",
        state: "done",
        details: [el("p", {}, foreign(entry.data.why), " – ", foreign(entry.data.by))],
      };
    case "NameCorrected":
      return {
        title: "An organiser corrected the name that is shown",
        state: "done",
        details: [
          el("p", {}, foreign(entry.data.name)),
          el("p", {}, foreign(entry.data.why), " – ", foreign(entry.data.by)),
        ],
      };
    case "Shown":
      return {
        title: "An organiser shows it again",
        state: "done",
        details: [el("p", {}, foreign(entry.data.why), " – ", foreign(entry.data.by))],
      };
    case "Withdrawn":
      return { title: "Withdrawn", state: "done" };
    case "GivenUp":
      return {
        title: `Given up after ${entry.data.interruptions} attempts, by no fault of yours`,
        state: "bad",
        details: [el("p", {}, entry.data.message)],
      };
  }
}

function probe({ image, outcome, status, latency_ms }: ImageProbe): HTMLElement {
  const answered =
    status === null ? "" : ` Status ${status}${latency_ms === null ? "" : ` in ${duration(latency_ms)}`}.`;
  const verdict = outcome === "matched" ? "It answered as submitted." : `${failureText(outcome).title}.`;
  return el("p", {}, name(image), `: ${verdict}${answered}`);
}

/** Returns the furthest stage that any image reached. */
function furthest(probes: ImageProbe[]): Stage {
  const stages = probes.map(({ outcome }) => (outcome === "matched" ? "ask" : failureText(outcome).stage));
  return (["ask", "run", "pull"] as const).find((stage) => stages.includes(stage)) ?? "ask";
}

function name(image: string): HTMLElement {
  return el("code", {}, familiar(image));
}

function item({ title, state, at, since, details = [] }: Step): HTMLElement {
  return el(
    "li",
    { class: `step step-${state}`, "aria-current": state === "now" && "step" },
    el(
      "div",
      { class: "step-head" },
      el("span", { class: "step-title" }, title),
      at !== undefined && time(at),
      since !== undefined && el("span", { class: "elapsed", "data-since": since, "aria-hidden": "true" }),
    ),
    ...details,
  );
}

function time(at: string): HTMLElement {
  return el("time", { datetime: at, title: fullDateTime(at) }, dateTime(at));
}

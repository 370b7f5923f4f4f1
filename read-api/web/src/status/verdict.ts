// The status box on top of a submission's page. After a failed verdict it is followed by every reason:
// the request, the response, the expected response, and advice.
import type { Challenge, ImageProbe, Reason, Submission } from "../lib/api";
import { el, foreign } from "../lib/dom";
import { dateTime, number, ordinal, approximateDuration } from "../lib/format";
import { familiar } from "../lib/image-name";
import { writeView } from "../map/view-address";
import { presentStep } from "./steps";
import { describeStage, failureText } from "./failure-text";

/** Returns a box with the status in a few words and an explanation. */
export function standingBox(submission: Submission, challenge: Challenge | null): HTMLElement {
  if (submission.standstill)
    return box("wait", "It stands still", [el("p", {}, submission.standstill.message)]);
  switch (submission.status) {
    case "submitted":
      return box("wait", "Waiting", [...waiting(submission), ...hiddenNote(submission)]);
    case "verifying":
      return box("wait", "Being verified", [
        el("p", {}, `${presentStep(submission)}…`),
        ...hiddenNote(submission),
      ]);
    case "withdrawn":
      return box("wait", "Withdrawn", [
        el("p", {}, verdictSentence(submission, challenge)),
        el(
          "p",
          { class: "actions" },
          el("a", { class: "button primary", href: `/submit?again=${submission.id}` }, "Take part again"),
        ),
      ]);
    case "passed":
      if (submission.hidden !== null) return box("wait", "Passed, and hidden", hiddenNote(submission));
      return box("ok", "Passed", [
        el("p", {}, foreign(submission.name), " is on the map, at ", foreign(submission.location.city), "."),
        el(
          "p",
          { class: "actions" },
          el("a", { class: "button primary", href: pinAddress(submission) }, "See your pin"),
        ),
      ]);
    case "failed":
      return box("bad", "Not yet", [
        el("p", {}, verdictSentence(submission, challenge)),
        ...hiddenNote(submission),
        el(
          "p",
          { class: "actions" },
          el(
            "a",
            { class: "button primary", href: `/submit?again=${submission.id}` },
            "Change it and try again",
          ),
        ),
      ]);
    case "given_up":
      return box("bad", "We could not run it", [
        el("p", {}, submission.waiting?.message ?? ""),
        el(
          "p",
          { class: "actions" },
          el("a", { class: "button primary", href: `/submit?again=${submission.id}` }, "Submit it again"),
        ),
      ]);
  }
}

/** Returns the verdict as a sentence, for the page and for screen readers, or an empty text if there is none. */
export function verdictSentence(
  { status, reasons: all, images, location, hidden, standstill }: Submission,
  challenge: Challenge | null,
): string {
  if (standstill) return standstill.message;
  if (status === "withdrawn") return "You withdrew it before it had a verdict, so it is not judged.";
  if (status === "passed" && hidden !== null) return hiddenLead(hidden);
  if (status === "passed") return `Your pin is on the map, at ${location.city}.`;
  if (status === "given_up") return "The fault is ours. You may submit again.";
  if (status !== "failed") return "";
  const one =
    all.length === 1 && all[0] !== undefined
      ? `${failureText(all[0].code).title}.`
      : "Here is what we saw of each image.";
  const any =
    challenge?.images.answering === "any" && images.length > 1
      ? " One image that answers as asked is enough."
      : "";
  return one + any;
}

/** Returns every reason of a failed verdict. */
export function reasons(submission: Submission, challenge: Challenge | null): HTMLElement | null {
  if (submission.status !== "failed") return null;
  const probes = submission.timeline.findLast((entry) => entry.type === "Probed")?.data.images ?? [];
  return el(
    "section",
    { "aria-label": "Reasons" },
    ...submission.reasons.map((one) =>
      reason(
        one,
        probes.find(({ image }) => image === one.image),
        challenge,
      ),
    ),
  );
}

/** Returns the reason why an organiser hides the submission, or nothing. */
function hiddenNote({ hidden }: Submission): Node[] {
  if (hidden === null) return [];
  const lead = `${hiddenLead(hidden)} `;
  return [el("p", { class: "hidden-why" }, lead, foreign(hidden.why), " – ", foreign(hidden.by))];
}

function hiddenLead({ held }: NonNullable<Submission["hidden"]>): string {
  return held ? "An organiser looks at it before it is on the map." : "An organiser hid it from the map.";
}

function waiting({ queue, waiting: why, platform, fetch }: Submission): Node[] {
  const place =
    queue === null
      ? "It is in the queue."
      : queue.position === 1
        ? "It is next."
        : `It is ${ordinal(queue.position)} of ${number(queue.of)} in the queue.`;
  const wait =
    queue === null || queue.expected_wait_s === null
      ? ""
      : ` Expected wait: ${approximateDuration(queue.expected_wait_s)}.`;
  const lines = [el("p", {}, place + wait)];
  if (fetch !== null) lines.push(el("p", {}, foreign(fetch.message)));
  if (platform !== null) lines.push(el("p", {}, platform));
  if (why !== null && why.code !== null) {
    const again =
      why.retry_at === null
        ? "It is tried again when we are well."
        : `It is tried again at ${dateTime(why.retry_at)}.`;
    lines.push(el("p", {}, `The last attempt was broken off by no fault of yours. ${why.message} ${again}`));
  }
  lines.push(
    el("p", { class: "aside" }, "You may close this page: its address stays valid, and only you know it."),
  );
  return lines;
}

function reason(
  { code, image, message, advice }: Reason,
  probe: ImageProbe | undefined,
  challenge: Challenge | null,
): HTMLElement {
  const { title, stage, expected } = failureText(code);
  const differing = probe?.differing ?? [];
  return el(
    "article",
    { class: "reason", "data-code": code },
    el("h2", {}, title),
    image !== null && el("p", { class: "reason-image" }, el("code", {}, familiar(image))),
    el(
      "dl",
      {},
      row("What we did", describeStage(stage, challenge)),
      row("What came back", message),
      differing.length === 0 ? row("What we expected", expected) : row("What we expected", table(differing)),
      row("What to do now", advice),
    ),
  );
}

function table(differing: ImageProbe["differing"]): HTMLElement {
  return el(
    "table",
    {},
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ...["Field", "You submitted", "It answered"].map((text) => el("th", { scope: "col" }, text)),
      ),
    ),
    el(
      "tbody",
      {},
      ...differing.map(({ field, expected, returned }) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, el("code", {}, field)),
          el("td", { "data-label": "You submitted" }, value(expected)),
          el(
            "td",
            { class: "differs", "data-label": "It answered" },
            returned === null ? "nothing: the field is missing" : value(returned),
          ),
        ),
      ),
    ),
  );
}

function value(text: string): HTMLElement {
  return text === "" ? el("span", { class: "aside" }, "empty") : el("bdi", {}, text);
}

function row(term: string, description: Node | string): HTMLElement {
  return el("div", {}, el("dt", {}, term), el("dd", {}, description));
}

function box(kind: "ok" | "bad" | "wait", title: string, content: Node[]): HTMLElement {
  return el("section", { class: `standing standing-${kind}` }, el("h2", {}, title), ...content);
}

function pinAddress({ location, owner }: Submission): string {
  return `/${writeView({ zoom: 5, ...location, pin: { ...location, owner } })}`;
}

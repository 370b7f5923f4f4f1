// One submission, live: for its participant.
import "../style/status.css";
import type { Challenge, QueuePlace, Submission } from "../lib/api";
import { Connection, header } from "../lib/chrome";
import { el, fill, foreign, say } from "../lib/dom";
import { country, moment, momentInFull } from "../lib/format";
import { Failure, get } from "../lib/http";
import { LiveStream } from "../lib/live";
import { stepList, tick } from "./steps";
import { gist, reasons, standing } from "./verdict";
import { familiar } from "./words";

const NAMES = { submitted: "Waiting", verifying: "Being verified", passed: "Passed", failed: "Not yet" };
const RETRY_MS = 2000;

const id = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");
const path = `/api/v1/submissions/${encodeURIComponent(id)}`;
const heading = el("h1", {}, "Your submission");
const lead = el("p", { class: "lead" }, "One moment…");
const place = el("div", { class: "parts" });
const word = el("p", { role: "status", class: "visually-hidden" });
const connection = new Connection(() => {
  live?.retryNow();
  void refresh();
});

let submission: Submission | null = null;
let challenge: Challenge | null = null;
let live: LiveStream | null = null;
let retry: ReturnType<typeof setTimeout> | undefined;
let asking = false;
let askAgain = false;

document.body.append(
  header("status"),
  el("main", { class: "sheet" }, heading, lead, place, word),
  connection.element,
);
void refresh();
setInterval(() => tick(place), 1000);
void get<Challenge>("/api/v1/challenge").then(
  (found) => {
    challenge = found;
    draw();
  },
  () => {
    // Without it the page is less exact, and still right.
  },
);

/** Reads the submission; once at a time, and once more if it was asked for meanwhile. */
async function refresh(): Promise<void> {
  if (asking) {
    askAgain = true;
    return;
  }
  asking = true;
  clearTimeout(retry);
  try {
    submission = await get<Submission>(path);
    connection.back();
    draw();
    live ??= follow();
  } catch (error) {
    const failure = error as Failure;
    if (failure.status === 404 || failure.status === 400) {
      showNotFound();
      return;
    }
    connection.lost(failure.message);
    retry = setTimeout(() => void refresh(), RETRY_MS);
  } finally {
    asking = false;
    if (askAgain) {
      askAgain = false;
      void refresh();
    }
  }
}

function follow(): LiveStream {
  return new LiveStream(`${path}/events`, {
    open: () => connection.back(),
    message(name, data) {
      if (submission === null) return;
      const { position } = data as { position?: number };
      if (name === "queue") {
        submission = { ...submission, queue: data as QueuePlace };
        draw();
      } else if (name === "platform" || (position ?? 0) > submission.position) {
        void refresh();
      }
    },
    lost: (failure) => connection.lost(failure.message),
  });
}

function draw(): void {
  if (submission === null) return;
  const { name, twitter, location: where, images, answers, status, submitted_at: at } = submission;
  document.title = `${NAMES[status]} · Muster`;
  say(word, `${NAMES[status]}. ${gist(submission, challenge)}`);
  fill(
    lead,
    "Sent ",
    el("time", { datetime: at, title: momentInFull(at) }, moment(at)),
    " by ",
    foreign(name),
  );
  const labels = new Map(challenge?.answers.map(({ field, label }) => [field, label]));
  fill(
    place,
    standing(submission, challenge),
    reasons(submission, challenge),
    el("section", {}, el("h2", {}, "Step by step"), stepList(submission)),
    el(
      "section",
      {},
      el("h2", {}, "What you submitted"),
      el(
        "dl",
        { class: "facts" },
        row("Name", foreign(name)),
        twitter !== null && row("Handle", foreign(twitter)),
        row("Place", foreign(`${where.typed} → ${where.city}, ${country(where.country)}`)),
        ...Object.entries(answers).map(([field, answer]) => row(labels.get(field) ?? field, foreign(answer))),
        row(
          images.length === 1 ? "Image" : "Images",
          el("ul", {}, ...images.map((image) => el("li", {}, el("code", {}, familiar(image))))),
        ),
      ),
    ),
  );
  tick(place);
}

function showNotFound(): void {
  heading.textContent = "There is no such submission";
  fill(lead, "Check the address: it is the one that you were given when you submitted.");
  fill(
    place,
    el(
      "p",
      { class: "ways" },
      el("a", { class: "button primary", href: "/submit" }, "Take part"),
      el("a", { class: "button", href: "/" }, "See the map"),
    ),
  );
}

function row(term: string, description: Node): HTMLElement {
  return el("div", {}, el("dt", {}, term), el("dd", {}, description));
}

// The page of one submission, kept up to date for its participant.
import "../style/status.css";
import type { Challenge, QueuePlace, Submission } from "../lib/api";
import { ConnectionNotice, header } from "../lib/chrome";
import { el, setChildren, foreign, setText } from "../lib/dom";
import { dateTime, foundPlace, fullDateTime } from "../lib/format";
import { Failure, get } from "../lib/http";
import { familiar } from "../lib/image-name";
import { LiveStream } from "../lib/live";
import { standingOf } from "../lib/standing";
import { endOf, type Ending } from "./ending";
import { VerdictNotice } from "./notice";
import { stepList, updateElapsed } from "./steps";
import { takeAlong } from "./take-along";
import { verdictSentence, reasons, standingBox } from "./verdict";
import { Withdrawal } from "./withdrawal";

const RETRY_MS = 2000;

const id = decodeURIComponent(location.pathname.split("/").at(-1) ?? "");
const path = `/api/v1/submissions/${encodeURIComponent(id)}`;
const heading = el("h1", { tabindex: -1 }, "Your submission");
const lead = el("p", { class: "lead" }, "One moment…");
const place = el("div", { class: "parts" });
const withdrawal = new Withdrawal(path, refresh, () => heading.focus());
const notice = new VerdictNotice();
const along = takeAlong(location.origin + location.pathname);
const announcement = el("p", { role: "status", class: "visually-hidden" });
const connection = new ConnectionNotice(() => {
  live?.retryNow();
  void refresh();
});

let submission: Submission | null = null;
let challenge: Challenge | null = null;
let live: LiveStream | null = null;
let retry: ReturnType<typeof setTimeout> | undefined;
let reading = false;
let readAgain = false;

document.body.append(
  header("status"),
  el(
    "main",
    { class: "sheet" },
    heading,
    lead,
    place,
    notice.element,
    along,
    withdrawal.element,
    announcement,
  ),
  connection.element,
);
void refresh();
setInterval(() => updateElapsed(place), 1000);
void get<Challenge>("/api/v1/challenge").then(
  (found) => {
    challenge = found;
    draw();
  },
  () => {
    // Without the challenge the page is less exact.
  },
);

/** Reads the submission. Calls during a read cause one more read after it. */
async function refresh(): Promise<void> {
  if (reading) {
    readAgain = true;
    return;
  }
  reading = true;
  clearTimeout(retry);
  try {
    submission = await get<Submission>(path);
    connection.hide();
    draw();
    live ??= openLiveStream();
  } catch (error) {
    const failure = error as Failure;
    const end = endOf(failure);
    if (end !== null) {
      showEnd(end);
      return;
    }
    connection.showLost(failure.message);
    retry = setTimeout(() => void refresh(), RETRY_MS);
  } finally {
    reading = false;
    if (readAgain) {
      readAgain = false;
      void refresh();
    }
  }
}

function openLiveStream(): LiveStream {
  return new LiveStream(`${path}/events`, {
    open: () => connection.hide(),
    message(name, data) {
      if (submission === null) return;
      const position = (data as { position?: number } | null)?.position;
      if (name === "queue") {
        submission = { ...submission, queue: data as QueuePlace };
        draw();
      } else if (name === "fetch") {
        submission = { ...submission, fetch: data as Submission["fetch"] };
        draw();
      } else if (name === "platform" || name === "reset" || (position ?? 0) > submission.position) {
        void refresh();
      }
    },
    lost: (failure) => connection.showLost(failure.message),
  });
}

function draw(): void {
  if (submission === null) return;
  const { name, twitter, location: where, images, answers, submitted_at: at } = submission;
  const standing = standingOf(submission);
  document.title = `${standing} · Muster`;
  const sentence = verdictSentence(submission, challenge);
  setText(announcement, `${standing}. ${sentence}`);
  notice.update(submission, `${standing}: ${name}`, sentence);
  setChildren(
    lead,
    "Sent ",
    el("time", { datetime: at, title: fullDateTime(at) }, dateTime(at)),
    " by ",
    foreign(name),
  );
  const labels = new Map(challenge?.answers.map(({ field, label }) => [field, label]));
  setChildren(
    place,
    standingBox(submission, challenge),
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
        row("Place", foreign(foundPlace(where.typed, where.city, where.country))),
        ...Object.entries(answers).map(([field, answer]) => row(labels.get(field) ?? field, foreign(answer))),
        row(
          images.length === 1 ? "Image" : "Images",
          el("ul", {}, ...images.map((image) => el("li", {}, el("code", {}, familiar(image))))),
        ),
      ),
    ),
  );
  withdrawal.update(submission);
  updateElapsed(place);
}

/** Shows why there is no submission any more to be drawn. */
function showEnd({ title, text }: Ending): void {
  submission = null;
  connection.hide();
  for (const section of [withdrawal.element, notice.element, along]) section.hidden = true;
  document.title = `${title} · Muster`;
  heading.textContent = title;
  setText(announcement, title);
  setChildren(lead, text);
  setChildren(
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

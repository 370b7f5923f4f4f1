// The submission page.
import "../style/form.css";
import type { Accepted, Challenge, Entry, Submission } from "../lib/api";
import { ConnectionNotice, header } from "../lib/chrome";
import { el, setChildren } from "../lib/dom";
import { Failure, get, post } from "../lib/http";
import { familiar } from "../lib/image-name";
import { keepOwn } from "../lib/own-submissions";
import { pauseUntilAsking, periodSentence, untilNextPhase } from "../lib/period";
import { venueClaim } from "../lib/venue";
import { forgetDraft, keyFor, savedDraft, saveDraft } from "./draft";
import { Form } from "./form";
import { ownList } from "./own-list";

/** The number of times that an entry is sent if the server fails. */
const SEND_ATTEMPTS_MAX = 4;
const RETRY_MS = 2000;

const lead = el("p", { class: "lead" }, "\u00a0");
const period = el("p", { class: "period", role: "status" });
const place = el("div", {}, el("p", { class: "hint" }, "One moment…"));
const connection = new ConnectionNotice(() => void load());
/** The venue that the address names. */
const claim = venueClaim(location.search);
/** Read before the form is made: an empty form reports a change, which overwrites the draft. */
const draft = savedDraft();
let retry: ReturnType<typeof setTimeout> | undefined;
let nextPhase: ReturnType<typeof setTimeout> | undefined;

document.body.append(
  header("submit"),
  el("main", { class: "sheet" }, el("h1", {}, "Take part"), lead, period, place, ownList()),
  connection.element,
);
void load();

async function load(): Promise<void> {
  clearTimeout(retry);
  try {
    const challenge = await get<Challenge>("/api/v1/challenge");
    connection.hide();
    lead.textContent = `${challenge.title}: say who you are and name what you built. We run it, ask it, and put you on the map.`;
    const form = new Form(challenge, claim, { change: saveDraft, submit: (entry) => void send(form, entry) });
    const entry = (await earlierEntry()) ?? draft;
    if (entry !== null) form.fillIn(entry);
    setChildren(place, form.element);
    // The form moved what the address names.
    if (location.hash === "#yours") document.getElementById("yours")?.scrollIntoView();
    showPeriod(form, challenge);
  } catch (error) {
    connection.showLost((error as Failure).message);
    retry = setTimeout(() => void load(), RETRY_MS);
  }
}

/**
 * Shows when the challenge takes submissions, and asks the server again when that changes. `asked` is the number of
 * times that it was asked since the phase should have changed.
 */
function showPeriod(form: Form, challenge: Challenge, asked = 0): void {
  clearTimeout(nextPhase);
  const sentence = periodSentence(challenge);
  if (sentence === null) setChildren(period);
  else if (period.textContent !== sentence.textContent) setChildren(period, sentence);
  form.open = challenge.phase === "open";
  const left = untilNextPhase(challenge, Date.now());
  if (left === null) return;
  const again = (now: Challenge): void => {
    // The page may have been loaded anew in the meantime.
    if (form.element.isConnected)
      showPeriod(form, now, now.phase === challenge.phase && left === 0 ? asked + 1 : 0);
  };
  nextPhase = setTimeout(
    () => void get<Challenge>("/api/v1/challenge").then(again, () => again(challenge)),
    pauseUntilAsking(left, asked),
  );
}

/** Returns the entry of an earlier submission, if the address names one: `?again=<id>`. */
async function earlierEntry(): Promise<Entry | null> {
  const id = new URLSearchParams(location.search).get("again");
  if (id === null) return null;
  try {
    const {
      name,
      twitter,
      location: where,
      images,
      answers,
    } = await get<Submission>(`/api/v1/submissions/${encodeURIComponent(id)}`);
    const entry: Entry = { name, location: where.typed, images: images.map(familiar), ...answers };
    if (twitter !== null) entry.twitter = twitter;
    return entry;
  } catch (error) {
    if ((error as Failure).isTransient) throw error;
    return null;
  }
}

async function send(form: Form, entry: Entry): Promise<void> {
  form.busy = true;
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { id, links } = await post<Accepted>("/api/v1/submissions", entry, {
          key: keyFor(entry),
        });
        forgetDraft();
        keepOwn({ id, name: entry.name, sentAt: new Date().toISOString() });
        location.assign(links.page);
        return;
      } catch (error) {
        const failure = error as Failure;
        // Sending again is safe: with the same idempotency key an entry is not accepted twice.
        if (!failure.isTransient || failure.status === 429 || attempt === SEND_ATTEMPTS_MAX) throw failure;
        connection.showLost(`${failure.message} Your submission was not taken yet.`);
        await new Promise((resolve) => setTimeout(resolve, failure.retryAfterMs ?? RETRY_MS));
      }
    }
  } catch (error) {
    const failure = error as Failure;
    connection.hide();
    if (failure.errors.length > 0) form.showErrors(failure.errors);
    else
      form.showSummary([
        failure.message,
        ...(failure.isTransient ? ["Nothing is lost: submit again in a moment."] : []),
      ]);
  } finally {
    form.busy = false;
  }
}

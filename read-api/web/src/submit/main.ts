// The form with which one takes part.
import "../style/form.css";
import type { Challenge, Entry, Submission } from "../lib/api";
import { Connection, header } from "../lib/chrome";
import { el, fill } from "../lib/dom";
import { Failure, get, post } from "../lib/http";
import { forget, keyFor, savedDraft, saveDraft } from "./draft";
import { Form } from "./form";

/** After a failure of the server's, the same is sent again by itself this often. */
const TRIES = 4;
const RETRY_MS = 2000;

const lead = el("p", { class: "lead" }, "\u00a0");
const place = el("div", {}, el("p", { class: "hint" }, "One moment…"));
const connection = new Connection(() => void load());
/** Read before the form says, empty, that it has changed. */
const draft = savedDraft();
let retry: ReturnType<typeof setTimeout> | undefined;

document.body.append(
  header("submit"),
  el("main", { class: "sheet" }, el("h1", {}, "Take part"), lead, place),
  connection.element,
);
void load();

async function load(): Promise<void> {
  clearTimeout(retry);
  try {
    const challenge = await get<Challenge>("/api/v1/challenge");
    connection.back();
    lead.textContent = `${challenge.title}: say who you are and name what you built. We run it, ask it, and put you on the map.`;
    const form = new Form(challenge, { change: saveDraft, submit: (entry) => void send(form, entry) });
    const entry = (await earlier()) ?? draft;
    if (entry !== null) form.fillIn(entry);
    fill(place, form.element);
  } catch (error) {
    connection.lost((error as Failure).message);
    retry = setTimeout(() => void load(), RETRY_MS);
  }
}

/** The entry of a submission that is tried again: `?again=<id>`. */
async function earlier(): Promise<Entry | null> {
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
    if ((error as Failure).passes) throw error;
    return null;
  }
}

/** The short form of an image's name, as people type it. */
function familiar(image: string): string {
  return image.replace(/^docker\.io\//, "").replace(/:latest$/, "");
}

async function send(form: Form, entry: Entry): Promise<void> {
  form.busy = true;
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { links } = await post<{ links: { page: string } }>("/api/v1/submissions", entry, {
          key: keyFor(entry),
        });
        forget();
        location.assign(links.page);
        return;
      } catch (error) {
        const failure = error as Failure;
        // The key makes it safe: what was accepted without our knowing is not accepted twice.
        if (!failure.passes || failure.status === 429 || attempt === TRIES) throw failure;
        connection.lost(`${failure.message} Your submission was not taken yet.`);
        await new Promise((resolve) => setTimeout(resolve, failure.retryAfterMs ?? RETRY_MS));
      }
    }
  } catch (error) {
    const failure = error as Failure;
    connection.back();
    if (failure.errors.length > 0) form.refuse(failure.errors);
    else
      form.say([failure.message, ...(failure.passes ? ["Nothing is lost: submit again in a moment."] : [])]);
  } finally {
    form.busy = false;
  }
}

// What was typed and not yet accepted, kept for this tab; and the key under
// which it is sent, the same for each try, so that nothing is submitted twice.
import type { Entry } from "../lib/api";

const DRAFT = "muster.draft";
const KEY = "muster.key";

/** The entry that was typed last, if it was not accepted. */
export function savedDraft(): Entry | null {
  return read(DRAFT) as Entry | null;
}

export function saveDraft(entry: Entry): void {
  write(DRAFT, entry);
}

/** The key to send this entry with: a new one for another entry. */
export function keyFor(entry: Entry): string {
  const content = JSON.stringify(entry);
  const kept = read(KEY) as { key: string; content: string } | null;
  if (kept?.content === content) return kept.key;
  const key = randomKey();
  write(KEY, { key, content });
  return key;
}

/** It was accepted: the next submission is another one. */
export function forget(): void {
  for (const name of [DRAFT, KEY]) store()?.removeItem(name);
}

// `crypto.randomUUID` is missing where the page comes without TLS from another host.
function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

function read(name: string): unknown {
  try {
    return JSON.parse(store()?.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

function write(name: string, value: unknown): void {
  try {
    store()?.setItem(name, JSON.stringify(value));
  } catch {
    // A full store: the page works, only a reload forgets.
  }
}

function store(): Storage | null {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

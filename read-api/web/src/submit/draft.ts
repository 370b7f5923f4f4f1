// The entry that was typed and not yet accepted, kept for this tab, and its idempotency key. The key
// is the same for each attempt to send the entry, so that nothing is submitted twice.
import type { Entry } from "../lib/api";

const DRAFT = "muster.draft";
const KEY = "muster.key";

/** Returns the entry that was typed last, or `null` if it was accepted. */
export function savedDraft(): Entry | null {
  return read(DRAFT) as Entry | null;
}

export function saveDraft(entry: Entry): void {
  write(DRAFT, entry);
}

/** Returns the idempotency key of this entry; another entry gets a new key. */
export function keyFor(entry: Entry): string {
  const content = JSON.stringify(entry);
  const kept = read(KEY) as { key: string; content: string } | null;
  if (kept?.content === content) return kept.key;
  const key = randomKey();
  write(KEY, { key, content });
  return key;
}

/** Removes the draft and its key, after the entry was accepted. */
export function forgetDraft(): void {
  for (const name of [DRAFT, KEY]) store()?.removeItem(name);
}

// `crypto.randomUUID` is missing if the page was loaded from another host without TLS.
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
    // If the store is full, the page works, but a reload loses the draft.
  }
}

function store(): Storage | null {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

// The submissions that were sent from this browser, kept for the next visit. Nothing of it is sent anywhere.
const STORE = "muster.own";

/** The number of submissions that are kept. The oldest are forgotten first. */
const KEPT_MAX = 20;

export interface OwnSubmission {
  id: string;
  /** The participant's name. Several people may share a browser. */
  name: string;
  /** The time of sending, in ISO 8601. */
  sentAt: string;
}

/** Returns the submissions that were sent from this browser, newest first. */
export function ownSubmissions(): OwnSubmission[] {
  try {
    const kept: unknown = JSON.parse(store()?.getItem(STORE) ?? "[]");
    return Array.isArray(kept) ? kept.filter(isSubmission).slice(0, KEPT_MAX) : [];
  } catch {
    return [];
  }
}

/** Keeps a submission that was accepted. */
export function keepOwn(submission: OwnSubmission): void {
  const others = ownSubmissions().filter(({ id }) => id !== submission.id);
  write([submission, ...others].slice(0, KEPT_MAX));
}

/** Forgets a submission. */
export function forgetOwn(forgotten: string): void {
  write(ownSubmissions().filter(({ id }) => id !== forgotten));
}

/** Forgets all submissions. */
export function forgetAllOwn(): void {
  write([]);
}

function isSubmission(kept: unknown): kept is OwnSubmission {
  if (typeof kept !== "object" || kept === null) return false;
  const { id, name, sentAt } = kept as Record<string, unknown>;
  return (
    typeof id === "string" &&
    typeof name === "string" &&
    typeof sentAt === "string" &&
    !Number.isNaN(Date.parse(sentAt))
  );
}

function write(submissions: OwnSubmission[]): void {
  try {
    if (submissions.length === 0) store()?.removeItem(STORE);
    else store()?.setItem(STORE, JSON.stringify(submissions));
  } catch {
    // If the store is full, the page works, but the next visit does not show the submission.
  }
}

function store(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

// Asking the server. Whatever goes wrong becomes a `Failure` with a sentence for the reader.
import type { FieldProblem } from "./api";

const DEADLINE_MS = 20_000;

/** Why there is no answer to work with. */
export class Failure extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0 when the server did not answer at all. */
    readonly status: number,
    readonly errors: FieldProblem[] = [],
    /** When to try again, if the server says so. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(message);
  }

  /** Nothing is wrong with the request: the same one may succeed later. */
  get passes(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** What a JSON document at `path` says. Aborting `signal` rejects with an `AbortError`. */
export async function get<T>(
  path: string,
  options: { signal?: AbortSignal; token?: string } = {},
): Promise<T> {
  return ask<T>(path, { headers: bearer(options.token) }, options.signal);
}

/** Sends JSON. */
export async function post<T>(
  path: string,
  body: unknown,
  options: { key?: string; token?: string } = {},
): Promise<T> {
  const headers: Record<string, string> = { "Content-Type": "application/json", ...bearer(options.token) };
  if (options.key !== undefined) headers["Idempotency-Key"] = options.key;
  return ask<T>(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Whether an error only says that its request was given up. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** A refusal's problem document as a `Failure`. */
export async function refusal(response: Response): Promise<Failure> {
  const problem: unknown = await response.json().catch(() => null);
  const { detail, errors } = (typeof problem === "object" && problem !== null ? problem : {}) as {
    detail?: string;
    errors?: FieldProblem[];
  };
  const after = Number(response.headers.get("Retry-After"));
  return new Failure(
    detail ?? `The server answered with status ${response.status}.`,
    response.status,
    errors ?? [],
    after > 0 ? after * 1000 : null,
  );
}

async function ask<T>(path: string, request: RequestInit, signal?: AbortSignal): Promise<T> {
  const abort = new AbortController();
  const given = (): void => abort.abort();
  signal?.addEventListener("abort", given);
  const deadline = setTimeout(given, DEADLINE_MS);
  try {
    const response = await fetch(path, { ...request, signal: abort.signal });
    if (!response.ok) throw await refusal(response);
    return (await response.json()) as T;
  } catch (error) {
    if (error instanceof Failure || signal?.aborted) throw error;
    throw new Failure("The server does not answer.", 0);
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener("abort", given);
  }
}

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { Authorization: `Bearer ${token}` };
}

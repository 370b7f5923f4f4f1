// Requests to the server. Every error becomes a `Failure` with a sentence for the reader.
import type { FieldProblem, Problem } from "./api";

const DEADLINE_MS = 20_000;
const CUT_SHORT = "The server's answer was cut short; try again.";

/** The reason why a request has no usable response. */
export class Failure extends Error {
  constructor(
    message: string,
    /** The HTTP status, or 0 if there was no response. */
    readonly status: number,
    readonly errors: FieldProblem[] = [],
    /** The time after which to try again, if the server gave one. */
    readonly retryAfterMs: number | null = null,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Fetches a JSON document. If `signal` is aborted, the promise rejects with an `AbortError`. */
export async function get<T>(
  path: string,
  options: { signal?: AbortSignal; token?: string } = {},
): Promise<T> {
  return send<T>(path, { headers: bearer(options.token) }, options.signal);
}

/** Fetches JSON documents that stand in one line each. The server ends a list that it cannot complete with a problem. */
export async function getLines<T>(path: string, options: { token?: string } = {}): Promise<T[]> {
  const text = await send(path, { headers: bearer(options.token) }, undefined, (response) => response.text());
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const { problem, ...document } = parsed(line) as { problem?: Problem };
    if (problem !== undefined) throw new Failure(problem.detail, problem.status);
    return document as T;
  });
}

function parsed(line: string): object {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // The line is broken.
  }
  throw new Failure(CUT_SHORT, 0);
}

/** Posts a JSON document and returns the response's. */
export async function post<T>(
  path: string,
  body: unknown,
  options: { key?: string; token?: string } = {},
): Promise<T> {
  const headers: Record<string, string> = { "Content-Type": "application/json", ...bearer(options.token) };
  if (options.key !== undefined) headers["Idempotency-Key"] = options.key;
  return send<T>(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Deletes something. */
export async function del(path: string, token: string): Promise<void> {
  return send(path, { method: "DELETE", headers: bearer(token) }, undefined, () => Promise.resolve());
}

/** Returns true if the error only says that the request was aborted. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Makes a `Failure` of a response's problem document. */
export async function failureOf(response: Response): Promise<Failure> {
  const problem: unknown = await response.json().catch(() => null);
  const { detail, errors } = (
    typeof problem === "object" && problem !== null ? problem : {}
  ) as Partial<Problem>;
  const after = Number(response.headers.get("Retry-After"));
  return new Failure(
    detail ?? `The server answered with status ${response.status}.`,
    response.status,
    errors ?? [],
    after > 0 ? after * 1000 : null,
  );
}

async function send<T>(
  path: string,
  request: RequestInit,
  signal?: AbortSignal,
  read: (response: Response) => Promise<T> = async (response) => (await response.json()) as T,
): Promise<T> {
  const abort = new AbortController();
  const onAbort = (): void => abort.abort();
  signal?.addEventListener("abort", onAbort);
  const deadline = setTimeout(onAbort, DEADLINE_MS);
  try {
    const response = await fetch(path, { ...request, signal: abort.signal });
    if (!response.ok) throw await failureOf(response);
    return await read(response);
  } catch (error) {
    if (error instanceof Failure || signal?.aborted) throw error;
    throw new Failure("The server does not answer.", 0);
  } finally {
    clearTimeout(deadline);
    signal?.removeEventListener("abort", onAbort);
  }
}

function bearer(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { Authorization: `Bearer ${token}` };
}

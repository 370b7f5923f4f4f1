// A client for server-sent events that survives a restart of the server. The browser's own EventSource
// gives up after a response that is not 200, and cannot see heartbeats. This client reconnects, continues
// after the last event, and reports meanwhile that the connection is lost.
import { Failure, failureOf } from "./http";

/** The time without a line after which the connection is dead. The server sends a line every 15 s. */
const SILENCE_MS = 40_000;
const RETRY_MS = { first: 250, longest: 10_000 };
/** The time after which a hidden page closes its connection. A browser has only six for each server. */
const HIDDEN_MS = 60_000;

export interface Listener {
  /** The stream is open. If `resumed`, the events since the last message follow. */
  open(resumed: boolean): void;
  message(name: string, data: unknown): void;
  /** The connection failed at least twice in a row. The stream goes on trying. */
  lost(failure: Failure): void;
  /** The server refused the stream, which does not try again. */
  refused?(failure: Failure): void;
}

export class LiveStream {
  #lastId: string | null = null;
  #connection: AbortController | null = null;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #ended = false;
  #paused = false;

  constructor(
    private readonly path: string,
    private readonly listener: Listener,
  ) {
    document.addEventListener("visibilitychange", () => this.#onVisibilityChange());
    window.addEventListener("online", () => this.retryNow());
    // The browser may keep a page for its back button, and that page would keep one of the few connections.
    window.addEventListener("pagehide", () => this.#pause());
    void this.#run();
  }

  /** Reconnects at once if the connection is lost. */
  retryNow(): void {
    if (this.#connection === null && !this.#ended) {
      clearTimeout(this.#timer);
      void this.#run();
    }
  }

  #onVisibilityChange(): void {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => this.#pause(), HIDDEN_MS);
    } else {
      this.#paused = false;
      this.retryNow();
    }
  }

  #pause(): void {
    this.#paused = true;
    clearTimeout(this.#timer);
    this.#connection?.abort();
  }

  async #run(): Promise<void> {
    const connection = new AbortController();
    this.#connection = connection;
    let failure = new Failure("The server does not answer.", 0);
    try {
      await this.#listen(connection);
      // The server ended the stream: it restarts, or wants us to reconnect.
    } catch (error) {
      if (error instanceof Failure) failure = error;
    }
    connection.abort();
    this.#connection = null;
    if (failure.status !== 0 && !failure.isTransient) {
      this.#ended = true;
      this.listener.refused?.(failure);
      return;
    }
    if (this.#paused) return;
    this.#failures += 1;
    if (this.#failures > 1) this.listener.lost(failure);
    const pause = Math.min(RETRY_MS.first * 2 ** this.#failures, RETRY_MS.longest);
    this.#timer = setTimeout(
      () => void this.#run(),
      failure.retryAfterMs ?? pause * (0.5 + Math.random() / 2),
    );
  }

  async #listen(connection: AbortController): Promise<void> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (this.#lastId !== null) headers["Last-Event-ID"] = this.#lastId;
    const silence = new Watchdog(SILENCE_MS, () => connection.abort());
    try {
      const response = await fetch(this.path, { headers, signal: connection.signal, cache: "no-store" });
      if (!response.ok) throw await failureOf(response);
      if (response.body === null) return;
      this.#failures = 0;
      this.listener.open(this.#lastId !== null);
      const parser = new EventStreamParser((name, data, id) => {
        if (id !== null) this.#lastId = id;
        this.listener.message(name, JSON.parse(data));
      });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        silence.reset();
        parser.push(value);
      }
    } finally {
      silence.stop();
    }
  }
}

/** Calls `onTimeout` if `reset` was not called for `ms`. */
class Watchdog {
  #timer: ReturnType<typeof setTimeout>;

  constructor(
    private readonly ms: number,
    private readonly onTimeout: () => void,
  ) {
    this.#timer = setTimeout(onTimeout, ms);
  }

  reset(): void {
    this.stop();
    this.#timer = setTimeout(this.onTimeout, this.ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** A parser of `text/event-stream`, limited to the form that the server writes: lines end with `\n`. */
export class EventStreamParser {
  #rest = "";
  #name = "message";
  #data: string[] = [];
  #id: string | null = null;

  constructor(private readonly dispatch: (name: string, data: string, id: string | null) => void) {}

  push(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line === "") {
      if (this.#data.length > 0) this.dispatch(this.#name, this.#data.join("\n"), this.#id);
      [this.#name, this.#data, this.#id] = ["message", [], null];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
  }
}

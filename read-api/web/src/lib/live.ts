// Server-sent events that survive a dead server. The browser's own EventSource
// gives up for good on an answer that is not 200, and cannot see heartbeats;
// this one comes back after whatever it missed, and says meanwhile that it is lost.
import { Failure, refusal } from "./http";

/** The server sends a line every 15 s; after so long without one the connection is dead. */
const SILENCE_MS = 40_000;
const RETRY_MS = { first: 250, longest: 10_000 };
/** A page that nobody sees gives its connection back; a browser has only six for each server. */
const HIDDEN_MS = 60_000;

export interface Listener {
  /** The stream is open; what happened since the last message follows, if `resumed`. */
  open(resumed: boolean): void;
  message(name: string, data: unknown): void;
  /** It broke off, for at least the second time in a row. It goes on trying. */
  lost(failure: Failure): void;
  /** There is no such stream. It does not go on trying. */
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
    document.addEventListener("visibilitychange", () => this.#seenOrHidden());
    window.addEventListener("online", () => this.retryNow());
    // A page that was left may be kept for the way back, and would keep one of the few connections.
    window.addEventListener("pagehide", () => this.#pause());
    void this.#run();
  }

  /** Tries at once, if it is lost. */
  retryNow(): void {
    if (this.#connection === null && !this.#ended) {
      clearTimeout(this.#timer);
      void this.#run();
    }
  }

  #seenOrHidden(): void {
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
      // The server said good-bye: it restarts, or asks us to come back.
    } catch (error) {
      if (error instanceof Failure) failure = error;
    }
    connection.abort();
    this.#connection = null;
    if (failure.status !== 0 && !failure.passes) {
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
      if (!response.ok) throw await refusal(response);
      if (response.body === null) return;
      this.#failures = 0;
      this.listener.open(this.#lastId !== null);
      const parser = new Parser((name, data, id) => {
        if (id !== null) this.#lastId = id;
        this.listener.message(name, JSON.parse(data));
      });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        silence.fed();
        parser.push(value);
      }
    } finally {
      silence.stop();
    }
  }
}

/** Calls `bark` when it was not fed for `ms`. */
class Watchdog {
  #timer: ReturnType<typeof setTimeout>;

  constructor(
    private readonly ms: number,
    private readonly bark: () => void,
  ) {
    this.#timer = setTimeout(bark, ms);
  }

  fed(): void {
    this.stop();
    this.#timer = setTimeout(this.bark, this.ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** The `text/event-stream` format, as far as the server writes it: lines that end with `\n`. */
class Parser {
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

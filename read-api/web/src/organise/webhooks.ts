// Webhooks: how their deliveries go, and trying again at once.
import type { Webhook } from "../lib/api";
import { el, foreign, setChildren, setText } from "../lib/dom";
import { count, dateTime, fullDateTime } from "../lib/format";
import { Failure, get, post } from "../lib/http";

const KINDS: Record<Webhook["kinds"][number], string> = {
  passed: "passed",
  failed: "failed",
  stuck: "stuck",
  node_lost: "node lost",
  queue_long: "queue long",
};

/** Reads the webhooks. A server that delivers none has no such list, and not every role sees it. */
export async function getWebhooks(token: string): Promise<Webhook[] | null> {
  try {
    return (await get<{ webhooks: Webhook[] }>("/api/v1/webhooks", { token })).webhooks;
  } catch (error) {
    if (error instanceof Failure && error.status === 404) return [];
    if (error instanceof Failure && error.status === 403) return null;
    throw error;
  }
}

/** The list of webhooks, each with a button. */
export class WebhookBoard {
  readonly element = el("div");
  private readonly list = el("ul", { class: "unread" });
  private readonly answer = el("p", { role: "status" });
  private shown = "";

  /** `token` returns the organiser's token, and `refresh` reads everything again. */
  constructor(
    private readonly token: () => string | null,
    private readonly refresh: () => void,
  ) {}

  /** Shows the webhooks. If nothing changed, the page stays as it is, with the focus where it was. */
  show(all: Webhook[]): void {
    const text = JSON.stringify(all);
    if (text === this.shown) return;
    this.shown = text;
    if (all.length === 0) {
      setChildren(this.element, el("p", { class: "aside" }, "There are none."));
      return;
    }
    const focused = document.activeElement?.id;
    setChildren(this.list, ...all.map((hook) => this.line(hook)));
    if (!this.list.isConnected) setChildren(this.element, this.list, this.answer);
    if (focused?.startsWith("retry-")) document.getElementById(focused)?.focus();
  }

  private line(hook: Webhook): HTMLElement {
    const button = el(
      "button",
      { id: `retry-${hook.name}`, type: "button", class: "link", click: () => this.retry(hook.name) },
      `Try ${hook.name} again now`,
    );
    const kinds = hook.kinds.map((kind) => KINDS[kind]).join(", ");
    return el(
      "li",
      {},
      el("strong", {}, hook.name),
      ` to ${hook.host} (${kinds}): ${counts(hook)}. `,
      hook.last !== null && lastTry(hook.last),
      hook.trouble !== null && el("span", {}, "Nothing is sent: ", foreign(hook.trouble), ". "),
      (hook.waiting > 0 || hook.given_up > 0) && button,
    );
  }

  private retry(name: string): void {
    const token = this.token();
    void post<unknown>(`/api/v1/webhooks/${name}/retry`, {}, token === null ? {} : { token }).then(
      () => {
        setText(this.answer, `${name} is tried now.`);
        this.refresh();
      },
      (error: unknown) => setText(this.answer, (error as Failure).message),
    );
  }
}

/** Returns the numbers of a webhook in words. */
export function counts({
  delivered,
  waiting,
  oldest_waiting_at: oldest,
  next_try_at: next,
  given_up,
}: Webhook): string {
  const parts = [`${count(delivered, "message")} delivered`];
  if (waiting > 0) {
    const since = oldest === null ? "" : `, the oldest of ${dateTime(oldest)}`;
    const again = next === null ? "" : `, tried again at ${dateTime(next)}`;
    parts.push(`${count(waiting, "waits", "wait")}${since}${again}`);
  }
  if (given_up > 0) parts.push(`${count(given_up, "was", "were")} given up after three days`);
  return parts.join("; ");
}

function lastTry({ at, failure }: NonNullable<Webhook["last"]>): HTMLElement {
  const when = el("time", { datetime: at, title: fullDateTime(at) }, dateTime(at));
  return failure === null
    ? el("span", {}, "The last arrived at ", when, ". ")
    : el("span", {}, "The last try failed at ", when, ": ", foreign(failure), ". ");
}

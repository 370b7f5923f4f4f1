// A notification at the verdict, while the page is open in the background, for whoever asks for it.
import type { Submission } from "../lib/api";
import { el, setText } from "../lib/dom";

type Standing = Pick<Submission, "id" | "status">;

export class VerdictNotice {
  readonly element: HTMLElement;
  readonly #said = el("p", { class: "aside", role: "status" });
  readonly #ask = el(
    "button",
    { type: "button", class: "button", click: () => void this.#request() },
    "Notify me",
  );
  #before: Submission["status"] | null = null;

  constructor() {
    this.element = el(
      "section",
      { class: "notice", hidden: true },
      el("h2", {}, "You need not wait here"),
      el(
        "p",
        { class: "aside" },
        "Your browser can tell you when it is judged, as long as this page is open.",
      ),
      el("p", { class: "ways" }, this.#ask),
      this.#said,
    );
    this.#show();
  }

  /** Follows the submission, and notifies if it was judged while nobody looked. */
  update(submission: Standing, title: string, body: string): void {
    const before = this.#before;
    this.#before = submission.status;
    this.element.hidden = !isPending(submission.status) || permission() === "unavailable";
    if (before === null || !isPending(before) || isPending(submission.status)) return;
    if (permission() !== "granted" || !document.hidden) return;
    try {
      const notification = new Notification(title, { body, tag: submission.id });
      notification.onclick = () => {
        window.focus();
        notification.close();
      };
    } catch {
      // Some browsers on phones know notifications, but let no page make one. The title of the page tells it too.
    }
  }

  async #request(): Promise<void> {
    await Notification.requestPermission().catch(() => "denied");
    this.#show();
  }

  #show(): void {
    const state = permission();
    this.#ask.hidden = state !== "default";
    setText(
      this.#said,
      {
        granted: "You will be notified.",
        denied: "This browser was told not to notify you. Its settings for this site can change that.",
      }[state as string] ?? "",
    );
  }
}

/** Returns true until a submission is judged or has ended otherwise. */
export function isPending(status: Submission["status"]): boolean {
  return status === "submitted" || status === "verifying";
}

/** Returns whether the page may notify. Without TLS it may not. */
function permission(): NotificationPermission | "unavailable" {
  return isSecureContext && "Notification" in window ? Notification.permission : "unavailable";
}

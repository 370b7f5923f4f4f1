// Withdrawing a submission that had no verdict yet. The section stays the same element while the page is
// drawn again, so that its buttons keep the focus.
import type { Submission } from "../lib/api";
import { el, setChildren } from "../lib/dom";
import { type Failure, post } from "../lib/http";

export class Withdrawal {
  readonly element: HTMLElement;
  readonly #actions = el("p", { class: "ways" });
  readonly #error = el("p", { role: "alert" });

  constructor(
    private readonly path: string,
    private readonly onDone: () => void,
  ) {
    this.element = el(
      "section",
      { class: "withdrawal", hidden: true },
      el("h2", {}, "Changed your mind?"),
      el("p", { class: "aside" }, "Until it has a verdict you can withdraw it. It is not judged then."),
      this.#actions,
      this.#error,
    );
    this.#offer();
  }

  /** Shows the section if the submission can be withdrawn. */
  update(submission: Pick<Submission, "status" | "timeline">): void {
    this.element.hidden = !canWithdraw(submission);
  }

  #offer(): HTMLElement {
    const ask = el(
      "button",
      { type: "button", class: "button", click: () => this.#confirm() },
      "Withdraw the submission",
    );
    setChildren(this.#actions, ask);
    return ask;
  }

  #confirm(): void {
    const yes = el(
      "button",
      { type: "button", class: "button primary", click: () => void this.#send(yes) },
      "Yes, withdraw it",
    );
    const no = el(
      "button",
      { type: "button", class: "button", click: () => this.#offer().focus() },
      "Keep it",
    );
    setChildren(this.#actions, yes, no);
    yes.focus();
  }

  async #send(button: HTMLButtonElement): Promise<void> {
    button.disabled = true;
    setChildren(this.#error);
    try {
      await post<unknown>(`${this.path}/withdraw`, {});
    } catch (error) {
      setChildren(this.#error, (error as Failure).message);
      this.#offer();
    }
    this.onDone();
  }
}

/** Returns true if the submission never had a verdict and is not withdrawn. */
export function canWithdraw({ status, timeline }: Pick<Submission, "status" | "timeline">): boolean {
  const isJudged = timeline.some(({ type }) => type === "Passed" || type === "Failed");
  return (status === "submitted" || status === "verifying") && !isJudged;
}

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
    /** Reads the submission again. */
    private readonly refresh: () => Promise<void>,
    /** Takes the focus if the section is hidden. */
    private readonly takeFocus: () => void,
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
  update(submission: WithdrawalState): void {
    this.#show(canWithdraw(submission));
  }

  #show(shown: boolean): void {
    if (!shown && this.element.contains(document.activeElement)) this.takeFocus();
    this.element.hidden = !shown;
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
      { type: "button", class: "button primary", click: () => void this.#send([yes, no]) },
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

  async #send(buttons: HTMLButtonElement[]): Promise<void> {
    if (buttons.some(({ disabled }) => disabled)) return;
    for (const button of buttons) button.disabled = true;
    setChildren(this.#error);
    try {
      await post<unknown>(`${this.path}/withdraw`, {});
      this.takeFocus();
      this.#offer();
      this.#show(false);
    } catch (error) {
      setChildren(this.#error, (error as Failure).message);
      this.#offer().focus();
    }
    await this.refresh();
  }
}

type WithdrawalState = Pick<Submission, "status" | "timeline" | "standstill">;

/** Returns true if the submission never had a verdict, is not withdrawn and does not stand still. */
export function canWithdraw({ status, timeline, standstill }: WithdrawalState): boolean {
  const isJudged = timeline.some(({ type }) => type === "Passed" || type === "Failed");
  return (status === "submitted" || status === "verifying") && !isJudged && !standstill;
}

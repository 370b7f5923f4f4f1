// Submissions whose names have a refused word: an organiser shows them, corrects their spelling or withdraws them.
import type { SubmissionView } from "../lib/api";
import { el, foreign, setChildren, setText } from "../lib/dom";
import { count, dateTime, fullDateTime } from "../lib/format";
import { type Failure, post } from "../lib/http";
import { canWithdraw } from "../status/withdrawal";

/** The number of entries that are drawn. The others come when these are done. */
const DRAWN = 50;

const LOOKED = "An organiser looked at the name.";

/** The list of held submissions, each with what can be done. */
export class HeldBoard {
  readonly element = el("div");
  private readonly list = el("ul", { class: "held" });
  private readonly more = el("p", { class: "aside" });
  private readonly answer = el("p", { role: "status", tabindex: -1 });
  private shown = "";

  /** `token` returns the organiser's token, and `refresh` reads everything again. */
  constructor(
    private readonly token: () => string | null,
    private readonly refresh: () => void,
  ) {}

  /** Shows the submissions. If nothing changed, the page stays as it is, with what was typed. `mayAct` says whether the role moderates. */
  show(all: SubmissionView[], mayAct: boolean): void {
    const drawn = all.slice(0, DRAWN);
    const key = JSON.stringify([mayAct, all.length, drawn.map(({ id, revision }) => [id, revision])]);
    if (key === this.shown) return;
    this.shown = key;
    const hadFocus = this.list.contains(document.activeElement);
    setChildren(this.list, ...drawn.map((one) => this.entry(one, mayAct)));
    setText(
      this.more,
      all.length === 0
        ? "No name waits for a look."
        : all.length > DRAWN
          ? `The oldest ${DRAWN} of ${count(all.length, "entry", "entries")}.`
          : "",
    );
    if (!this.list.isConnected) setChildren(this.element, this.list, this.more, this.answer);
    // The entry with the focus is done.
    if (hadFocus) this.answer.focus();
  }

  private entry(one: SubmissionView, mayAct: boolean): HTMLElement {
    const spelling = el("input", {
      id: `spelling-${one.id}`,
      autocomplete: "off",
      spellcheck: "false",
      "aria-label": `Another spelling of ${one.name}`,
    });
    spelling.value = one.name;
    const act = (label: string, done: string, requests: () => [string, object][]): HTMLElement =>
      el(
        "button",
        {
          type: "button",
          class: "button",
          "aria-label": `${label}: ${one.name}`,
          click: () => void this.act(requests(), `${one.name}: ${done}.`),
        },
        label,
      );
    const path = `/api/v1/submissions/${one.id}`;
    const why = { why: LOOKED };
    const correct = (): [string, object][] => [
      [`${path}/correct`, { ...why, name: spelling.value.trim() }],
      [`${path}/show`, why],
    ];
    return el(
      "li",
      {},
      el(
        "p",
        {},
        el("a", { href: `/s/${one.id}` }, foreign(one.name)),
        one.twitter !== null && el("span", {}, " ", foreign(one.twitter)),
        " ",
        el(
          "span",
          { class: "aside" },
          foreign(one.owner),
          ", ",
          foreign(one.location.city),
          ", ",
          el(
            "time",
            { datetime: one.submitted_at, title: fullDateTime(one.submitted_at) },
            dateTime(one.submitted_at),
          ),
        ),
      ),
      one.hidden !== null && el("p", { class: "aside" }, foreign(one.hidden.why)),
      mayAct &&
        el(
          "div",
          { class: "ways" },
          act("Show it", "shown", () => [[`${path}/show`, why]]),
          spelling,
          act("Correct and show", "corrected and shown", correct),
          canWithdraw(one) && act("Withdraw", "withdrawn", () => [[`${path}/withdraw`, {}]]),
        ),
    );
  }

  private async act(requests: [path: string, body: object][], done: string): Promise<void> {
    const token = this.token();
    try {
      for (const [path, body] of requests) await post<unknown>(path, body, token === null ? {} : { token });
      setText(this.answer, done);
      this.refresh();
    } catch (error) {
      const { message, errors } = error as Failure;
      setText(this.answer, errors[0]?.message ?? message);
    }
  }
}

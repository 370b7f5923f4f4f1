// The organisers' tokens by name: the list, a new one with its secret, and revoking.
import type { ListedToken, NewToken } from "../lib/api";
import { el, foreign, setChildren, setText } from "../lib/dom";
import { Field, showFailure } from "../lib/field";
import { dateTime, fullDateTime } from "../lib/format";
import { Failure, del, get, post } from "../lib/http";

/** Reads the tokens; `null` if the role does not see them. */
export async function getTokens(token: string): Promise<ListedToken[] | null> {
  try {
    return (await get<{ tokens: ListedToken[] }>("/api/v1/tokens", { token })).tokens;
  } catch (error) {
    if (error instanceof Failure && (error.status === 403 || error.status === 404)) return null;
    throw error;
  }
}

/** The tokens, and a form for a new one. */
export class TokenBoard {
  readonly element: HTMLElement;
  private readonly list = el("ul", { class: "tokens" });
  private readonly answer = el("p", { role: "status", tabindex: -1 });
  private readonly secret = el("div", { role: "status" });
  private shown = "";

  /** `token` returns the organiser's token, and `refresh` reads everything again. */
  constructor(
    private readonly token: () => string | null,
    private readonly refresh: () => void,
  ) {
    this.element = el("div", {}, this.list, this.answer, this.form(), this.secret);
  }

  /** Shows the tokens. If nothing changed, the page stays as it is, with the focus where it was. */
  show(all: ListedToken[]): void {
    const text = JSON.stringify(all);
    if (text === this.shown) return;
    this.shown = text;
    const hadFocus = this.list.contains(document.activeElement);
    setChildren(this.list, ...all.map((one) => this.line(one)));
    if (all.length === 0)
      setChildren(this.list, el("li", { class: "aside" }, "There is only the one that all share."));
    if (hadFocus) this.answer.focus();
  }

  private line({ name, role, added_at: at, added_by: by }: ListedToken): HTMLElement {
    const revoke = el(
      "button",
      {
        type: "button",
        class: "link",
        "aria-label": `Revoke the token of ${name}`,
        click: () => void this.revoke(name, revoke),
      },
      "Revoke",
    );
    return el(
      "li",
      {},
      el("strong", {}, foreign(name)),
      ` (${role}), since `,
      el("time", { datetime: at, title: fullDateTime(at) }, dateTime(at)),
      by !== null && el("span", {}, ", by ", foreign(by)),
      ". ",
      revoke,
    );
  }

  private async revoke(name: string, button: HTMLButtonElement): Promise<void> {
    // A second press confirms, because nobody gets a revoked token back.
    if (button.dataset["sure"] === undefined) {
      button.dataset["sure"] = "";
      button.removeAttribute("aria-label");
      setText(button, `Revoke ${name}: press again`);
      return;
    }
    try {
      await del(`/api/v1/tokens/${encodeURIComponent(name)}`, this.token() ?? "");
      setText(this.answer, `The token of ${name} is revoked.`);
      this.refresh();
    } catch (error) {
      setText(this.answer, (error as Failure).message);
    }
  }

  private form(): HTMLElement {
    const name = new Field(
      "name",
      el("input", { id: "token-name", autocomplete: "off", spellcheck: "false", maxlength: 60 }),
      { label: "Name", hint: "It stands in the events of what the person does." },
    );
    const role = new Field(
      "role",
      el("input", { id: "token-role", autocomplete: "off", spellcheck: "false", autocapitalize: "none" }),
      { label: "Role", hint: "organiser, venue:NAME, analyst or operator" },
    );
    const button = el("button", { class: "button" }, "Make a token");
    const form = el(
      "form",
      { class: "form", novalidate: true },
      el("div", { class: "pair" }, name.element, role.element),
      el("div", { class: "actions" }, button),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fields: [Field, ...Field[]] = [name, role];
      fields.forEach((field) => field.clearError());
      setChildren(this.secret);
      button.disabled = true;
      const token = this.token();
      const body = { name: name.value, role: role.value };
      void post<NewToken>("/api/v1/tokens", body, token === null ? {} : { token })
        .then(
          (made) => {
            fields.forEach((field) => (field.control.value = ""));
            this.showSecret(made);
            this.refresh();
          },
          (error: unknown) => showFailure(fields, error as Failure),
        )
        .finally(() => (button.disabled = false));
    });
    return form;
  }

  private showSecret({ name, token }: NewToken): void {
    const forget = el(
      "button",
      { type: "button", class: "button", click: () => setChildren(this.secret) },
      "I have kept it",
    );
    setChildren(
      this.secret,
      el(
        "div",
        { class: "note note-wait" },
        el("p", {}, "The token of ", foreign(name), ". It is shown this once:"),
        el("p", {}, el("code", { class: "secret" }, token)),
        el("p", { class: "ways" }, forget),
      ),
    );
    forget.focus();
  }
}

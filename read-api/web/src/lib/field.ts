// A labelled field with its hint, and what is wrong with it beside it.
import { el, fill } from "./dom";

type Control = HTMLInputElement | HTMLSelectElement;

export class Field {
  readonly element: HTMLElement;
  readonly #error: HTMLElement;

  constructor(
    /** The name by which the server speaks of it. */
    readonly name: string,
    readonly control: Control,
    texts: { label: string; hint?: string; optional?: boolean },
    /** What stands behind the control, such as completions. */
    behind: (HTMLElement | null)[] = [],
  ) {
    const id = control.id;
    this.#error = el("div", { class: "field-error", id: `${id}-error`, "aria-live": "polite" });
    const hint = texts.hint === undefined ? null : el("p", { class: "hint", id: `${id}-hint` }, texts.hint);
    control.setAttribute("aria-describedby", `${hint === null ? "" : `${id}-hint `}${id}-error`);
    if (!texts.optional) control.setAttribute("aria-required", "true");
    this.element = el(
      "div",
      { class: "field" },
      el("label", { for: id }, texts.label, texts.optional && el("span", { class: "optional" }, " optional")),
      hint,
      control,
      ...behind,
      this.#error,
    );
  }

  get value(): string {
    return this.control.value.trim();
  }

  /** Says what is wrong; each suggestion is a button that takes it. */
  refuse(message: string, suggestions: string[] = []): void {
    this.control.setAttribute("aria-invalid", "true");
    this.element.classList.add("wrong");
    const buttons = suggestions.map((text) =>
      el(
        "button",
        {
          type: "button",
          class: "suggestion",
          click: () => {
            this.control.value = text;
            this.accept();
            this.control.dispatchEvent(new Event("input", { bubbles: true }));
            this.control.focus();
          },
        },
        el("bdi", {}, text),
      ),
    );
    fill(
      this.#error,
      el("p", {}, message),
      buttons.length > 0 && el("div", { class: "suggestions" }, ...buttons),
    );
  }

  /** Takes back what was said to be wrong. */
  accept(): void {
    this.control.removeAttribute("aria-invalid");
    this.element.classList.remove("wrong");
    fill(this.#error);
  }
}

// A labelled field with its hint and its error.
import { el, setChildren } from "./dom";
import type { Failure } from "./http";

type Control = HTMLInputElement | HTMLSelectElement;

export class Field {
  readonly element: HTMLElement;
  readonly #error: HTMLElement;

  constructor(
    /** The field's name in the API. */
    readonly name: string,
    readonly control: Control,
    texts: { label: string; hint?: string; optional?: boolean },
    /** Elements after the control, such as completions. */
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

  /** Shows an error. Each suggestion is a button that fills it in. */
  showError(message: string, suggestions: string[] = []): void {
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
            this.clearError();
            this.control.dispatchEvent(new Event("input", { bubbles: true }));
            this.control.focus();
          },
        },
        el("bdi", {}, text),
      ),
    );
    setChildren(
      this.#error,
      el("p", {}, message),
      buttons.length > 0 && el("div", { class: "suggestions" }, ...buttons),
    );
  }

  /** Removes the error. */
  clearError(): void {
    this.control.removeAttribute("aria-invalid");
    this.element.classList.remove("wrong");
    setChildren(this.#error);
  }
}

/** Shows a failure at the fields that it names, or at the first field, and moves the focus there. */
export function showFailure(fields: [Field, ...Field[]], failure: Pick<Failure, "message" | "errors">): void {
  const errors = failure.errors.length > 0 ? failure.errors : [{ field: "", message: failure.message }];
  const messages = new Map<Field, string[]>();
  for (const { field, message } of errors) {
    const at = fields.find(({ name }) => name === field) ?? fields[0];
    messages.set(at, [...(messages.get(at) ?? []), message]);
  }
  for (const [field, texts] of messages) field.showError(texts.join(" "));
  fields.find((field) => messages.has(field))?.control.focus();
}

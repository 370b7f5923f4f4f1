// The submission form: its fields, and the entry that is made of them.
import type { Challenge, Entry, FieldProblem, Places, TextLength } from "../lib/api";
import { combobox } from "../lib/combobox";
import { el, setChildren } from "../lib/dom";
import { Field } from "../lib/field";
import { count } from "../lib/format";
import { get } from "../lib/http";
import type { VenueClaim } from "../lib/venue";
import { check, expectedAnswer } from "./rules";
import { sandboxSection } from "./sandbox";
import { VenueFields } from "./venue";

export class Form {
  readonly element: HTMLFormElement;
  readonly #name: Field;
  readonly #twitter = new Field("twitter", text("twitter", { placeholder: "@username", maxlength: 60 }), {
    label: "Handle",
    hint: "On Twitter, as @username.",
    optional: true,
  });
  readonly #location: Field;
  readonly #venue: VenueFields;
  readonly #images: Field[] = [];
  readonly #imageRows = el("div", { class: "image-rows" });
  readonly #addImage = el("button", { type: "button", class: "link" }, "Add another image");
  readonly #answers: Field[];
  readonly #summary = el("div", { class: "summary", role: "alert", tabindex: -1 });
  readonly #send = el("button", { type: "submit", class: "button primary" }, "Submit");
  #busy = false;
  #open = true;
  readonly #expected = el("pre", { tabindex: 0, "aria-label": "The answer that is expected" });

  constructor(
    private readonly challenge: Challenge,
    claim: VenueClaim,
    private readonly on: { change(entry: Entry): void; submit(entry: Entry): void },
  ) {
    const { fields } = challenge;
    this.#name = new Field(
      "name",
      text("name", { autocomplete: "name", maxlength: roomFor(fields.name, NAME_UNITS) }),
      {
        label: "Your name",
        hint: "As it will stand on the map.",
      },
    );
    this.#location = location(roomFor(fields.location));
    this.#venue = new VenueFields(challenge.venues, claim, () => this.#changed());
    this.#answers = challenge.answers.map((question) => answer(question, roomFor(fields.answer)));
    this.#addImage.addEventListener("click", () => {
      this.#addRow("").control.focus();
      this.#changed();
    });
    const { images, probe } = challenge;
    const which = images.answering === "all" ? "Each of them" : images.max === 1 ? "It" : "One of them";
    this.element = el(
      "form",
      { novalidate: true, class: "form" },
      this.#summary,
      el("div", { class: "pair" }, this.#name.element, this.#twitter.element),
      this.#location.element,
      this.#venue.element,
      ...this.#answers.map((field) => field.element),
      el(
        "fieldset",
        { class: "images" },
        el("legend", {}, images.max === 1 ? "Your image" : "Your images"),
        el(
          "p",
          { class: "hint" },
          `${imageCount(images)}, pushed to ${images.registries.join(" or ")} under one account. `,
          `${which} must answer GET ${probe.path} on port ${probe.port} as shown below.`,
        ),
        this.#imageRows,
        this.#addImage,
      ),
      el(
        "details",
        { class: "expected", open: true },
        el("summary", {}, "What your app must answer"),
        el("p", { class: "hint" }, `GET ${probe.path} on port ${probe.port}, status 200, and this JSON:`),
        this.#expected,
      ),
      sandboxSection(challenge),
      el("div", { class: "actions" }, this.#send),
    );
    this.element.addEventListener("input", () => this.#changed());
    this.element.addEventListener("focusout", (event) => this.#onFocusOut(event));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.fillIn({ name: "", location: "", images: [] });
  }

  /** The entry as it is typed at present. */
  get entry(): Entry {
    const entry: Entry = {
      name: this.#name.value,
      location: this.#location.value,
      images: this.#images.map((field) => field.value).filter((image) => image !== ""),
    };
    if (this.#twitter.value !== "") entry.twitter = this.#twitter.value;
    for (const field of this.#answers) if (field.value !== "") entry[field.name] = field.value;
    return { ...entry, ...this.#venue.entry };
  }

  /** Fills the fields from an entry. */
  fillIn(entry: Entry): void {
    this.#name.control.value = entry.name;
    this.#twitter.control.value = entry.twitter ?? "";
    this.#location.control.value = entry.location;
    for (const field of this.#answers) field.control.value = String(entry[field.name] ?? "");
    this.#images.length = 0;
    setChildren(this.#imageRows);
    const rows = Math.max(entry.images.length, this.challenge.images.min);
    for (let at = 0; at < rows; at += 1) this.#addRow(entry.images[at] ?? "");
    this.#changed();
  }

  /** Shows whether the entry is being sent. */
  set busy(busy: boolean) {
    this.#busy = busy;
    this.#send.disabled = busy || !this.#open;
    this.#send.textContent = busy ? "Sending…" : "Submit";
  }

  /** Sets whether the challenge takes submissions. */
  set open(open: boolean) {
    this.#open = open;
    this.#send.disabled = this.#busy || !open;
  }

  /** Shows each error beside its field and a summary above the fields, and moves the focus to the first. */
  showErrors(errors: FieldProblem[]): void {
    const fields = this.#fields();
    fields.forEach((field) => field.clearError());
    if (errors.some(({ field }) => this.#venue.fields.some(({ name }) => name === field)))
      this.#venue.reveal();
    const withoutField: string[] = [];
    const wrong: Field[] = [];
    for (const { field: name, message, suggestions } of errors) {
      // An error about all images is shown at the first one.
      const field =
        fields.find((one) => one.name === name) ?? (name === "images" ? this.#images[0] : undefined);
      if (field === undefined) withoutField.push(`${name}: ${message}`);
      else {
        field.showError(message, suggestions);
        wrong.push(field);
      }
    }
    const many =
      wrong.length === 1 ? "One field needs another look." : `${wrong.length} fields need another look.`;
    this.showSummary([...(wrong.length > 0 ? [many] : []), ...withoutField]);
    const [first] = fields.filter((field) => wrong.includes(field));
    (first?.control ?? this.#summary).focus();
  }

  /** Shows lines above the fields. */
  showSummary(lines: string[]): void {
    setChildren(this.#summary, ...lines.map((line) => el("p", {}, line)));
  }

  #submit(): void {
    // Enter submits a form even if its button is disabled.
    if (this.#send.disabled) return;
    const entry = this.entry;
    const wrong = check(entry, this.challenge);
    if (wrong.size > 0) return this.showErrors([...wrong].map(([field, message]) => ({ field, message })));
    this.#fields().forEach((field) => field.clearError());
    this.showSummary([]);
    this.on.submit(entry);
  }

  /** Checks a field when it loses the focus, unless it is empty. */
  #onFocusOut(event: FocusEvent): void {
    const field = this.#fields().find((one) => one.control === event.target);
    if (field === undefined || field.value === "") return;
    const why = check(this.entry, this.challenge).get(field.name);
    if (why !== undefined) field.showError(why);
  }

  #changed(): void {
    const wrong = check(this.entry, this.challenge);
    for (const field of this.#fields()) {
      const mended = field.control.getAttribute("aria-invalid") === "true" && !wrong.has(field.name);
      if (mended && document.activeElement === field.control) field.clearError();
    }
    this.#addImage.hidden = this.#images.length >= this.challenge.images.max;
    this.#expected.textContent = JSON.stringify(expectedAnswer(this.entry, this.challenge), null, 2);
    this.on.change(this.entry);
  }

  #addRow(value: string): Field {
    const at = this.#images.length;
    const { min } = this.challenge.images;
    const input = text(`images[${at}]`, {
      placeholder: at === 0 ? "ada/voting-app" : "ada/result-app",
      maxlength: 2000,
    });
    input.value = value;
    const remove = el(
      "button",
      { type: "button", class: "link remove", "aria-label": `Remove image ${at + 1}` },
      "Remove",
    );
    const field = new Field(`images[${at}]`, input, { label: `Image ${at + 1}`, optional: at >= min }, [
      at >= min ? remove : null,
    ]);
    remove.addEventListener("click", () => {
      const left = this.entry.images.filter((image) => image !== field.value);
      this.fillIn({ ...this.entry, images: left });
      this.#addImage.focus();
    });
    this.#images.push(field);
    this.#imageRows.append(field.element);
    return field;
  }

  #fields(): Field[] {
    return [
      this.#name,
      this.#twitter,
      this.#location,
      ...this.#venue.fields,
      ...this.#answers,
      ...this.#images,
    ];
  }
}

/** The number of UTF-16 units that one character of a name may have: an emoji of a family has eleven. */
const NAME_UNITS = 16;

/**
 * Returns the number of UTF-16 units that a field accepts: a few characters more than allowed, so that the error shows.
 */
function roomFor({ max_chars: max }: TextLength, unitsPerCharacter = 2): number {
  return (max + 10) * unitsPerCharacter;
}

function location(maxlength: number): Field {
  const input = text("location", { maxlength, placeholder: "City, Country" });
  const list = combobox(input, {
    async complete(typed, signal) {
      const { places } = await get<Places>(`/api/v1/places?q=${encodeURIComponent(typed)}`, {
        signal,
      });
      return places.map((label) => ({ label }));
    },
    choose({ label }) {
      input.value = label;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    },
  });
  return new Field("location", input, { label: "Where you are", hint: "Your city puts you on the map." }, [
    list,
  ]);
}

function answer(question: Challenge["answers"][number], maxlength: number): Field {
  const { field, label, required, choices } = question;
  const control =
    choices.length === 0
      ? text(field, { maxlength })
      : el(
          "select",
          { id: field, name: field },
          el("option", { value: "" }, "Choose…"),
          ...choices.map((choice) => el("option", { value: choice }, choice)),
        );
  return new Field(field, control, { label, optional: !required });
}

function text(name: string, attributes: Record<string, string | number>): HTMLInputElement {
  return el("input", {
    id: name,
    name,
    type: "text",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    ...attributes,
  });
}

function imageCount({ min, max }: Challenge["images"]): string {
  return min === max ? count(max, "image") : `${min} to ${count(max, "image")}`;
}

// The venue at which a participant takes part: as the address names it, or as the participant chooses.
import { el, setChildren } from "../lib/dom";
import { Field } from "../lib/field";
import type { Venue, VenueClaim } from "../lib/venue";

/** The part of the form about the venue. It is empty if the challenge has none. */
export class VenueFields {
  readonly element = el("div", { class: "venue" });
  readonly #choice: Field;
  readonly #code: Field;

  /** `claim` is what the address says, and `changed` is called when the participant says something else. */
  constructor(
    private readonly venues: Venue[],
    claim: VenueClaim,
    private readonly changed: () => void,
  ) {
    const choice = el(
      "select",
      { id: "venue", name: "venue" },
      el("option", { value: "" }, "At none"),
      ...venues.map(({ name, title, location }) => el("option", { value: name }, `${title}, ${location}`)),
    );
    this.#choice = new Field("venue", choice, {
      label: "Venue",
      hint: "The room where you take part.",
      optional: true,
    });
    const code = el("input", {
      id: "venue_code",
      name: "venue_code",
      autocomplete: "off",
      autocapitalize: "characters",
      spellcheck: "false",
      maxlength: 80,
    });
    this.#code = new Field("venue_code", code, {
      label: "Code",
      hint: "If the room has one.",
      optional: true,
    });
    choice.value = claim.venue ?? "";
    code.value = claim.code ?? "";
    if (venues.length === 0) return;
    const known = venues.find(({ name }) => name === claim.venue);
    if (known === undefined) this.#offer();
    else this.#greet(known);
  }

  get fields(): Field[] {
    return this.venues.length === 0 ? [] : [this.#choice, this.#code];
  }

  /** What the entry says about the venue. */
  get entry(): { venue?: string; venue_code?: string } {
    const [venue, code] = [this.#choice.value, this.#code.value];
    return { ...(venue !== "" && { venue }), ...(code !== "" && { venue_code: code }) };
  }

  /** Shows the fields, so that an error beside them can be seen. */
  reveal(): void {
    if (!this.#choice.element.isConnected) this.#offer();
  }

  #greet({ title, location: city }: Venue): void {
    setChildren(
      this.element,
      el(
        "p",
        { class: "here" },
        "You take part at ",
        el("strong", {}, `${title}, ${city}`),
        ". ",
        this.#button("Leave it out", () => {
          this.#choice.control.value = this.#code.control.value = "";
          history.replaceState(null, "", location.pathname);
        }),
        " ",
        this.#button("Change it", () => undefined),
      ),
    );
  }

  #button(label: string, act: () => void): HTMLElement {
    const click = (): void => {
      act();
      this.#offer();
      this.#choice.control.focus();
      this.changed();
    };
    return el("button", { type: "button", class: "link", click }, label);
  }

  #offer(): void {
    setChildren(this.element, el("div", { class: "pair" }, this.#choice.element, this.#code.element));
  }
}

// What is said of a pin, and of pins that share a place.
import { el, foreign } from "../lib/dom";
import { count, country, moment, momentInFull } from "../lib/format";
import type { PinFeature, PinProperties } from "../lib/api";

/** One pin. `labels` name the challenge's answers. */
export function pinCard(pin: PinProperties, labels: Map<string, string>): HTMLElement {
  const rows = Object.entries(pin.answers).map(([field, answer]) =>
    row(labels.get(field) ?? field, foreign(answer)),
  );
  return el(
    "article",
    { class: "pin-card", tabindex: -1 },
    el("h2", {}, foreign(pin.name)),
    pin.twitter !== null && el("p", { class: "handle" }, foreign(pin.twitter)),
    el(
      "dl",
      {},
      row("Place", foreign(`${pin.city}, ${country(pin.country)}`)),
      ...rows,
      row(
        "Passed",
        el("time", { datetime: pin.passed_at, title: momentInFull(pin.passed_at) }, moment(pin.passed_at)),
      ),
      row("So far", count(pin.passes, "pass", "passes")),
      row("Images of", foreign(pin.owner)),
    ),
  );
}

/** Several pins at one place, as a list; choosing one calls `choose`. */
export function pinList(pins: PinFeature[], total: number, choose: (pin: PinFeature) => void): HTMLElement {
  const cities = new Set(pins.map(({ properties }) => properties.city));
  const where = [...cities].slice(0, 3).join(", ");
  const more = total - pins.length;
  return el(
    "article",
    { class: "pin-card", tabindex: -1 },
    el("h2", {}, count(total, "pin"), " at ", foreign(where)),
    el(
      "ul",
      { class: "pin-list" },
      ...pins.map((pin) =>
        el(
          "li",
          {},
          el(
            "button",
            { type: "button", click: () => choose(pin) },
            foreign(pin.properties.name),
            el("span", { class: "aside" }, moment(pin.properties.passed_at)),
          ),
        ),
      ),
    ),
    more > 0 &&
      el("p", { class: "aside" }, `These are the newest; ${count(more, "more", "more")} are here too.`),
  );
}

function row(term: string, description: Node | string): HTMLElement {
  return el("div", {}, el("dt", {}, term), el("dd", {}, description));
}

// The cards that open on the map: for one pin, and for pins that share a place.
import { el, foreign } from "../lib/dom";
import { count, dateTime, fullDateTime, placeName } from "../lib/format";
import type { PinFeature, PinProperties } from "../lib/api";

/** Returns the card of one pin. `labels` has the challenge's labels of its answers, by field. */
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
      row("Place", foreign(placeName(pin.city, pin.country))),
      ...rows,
      row(
        "Passed",
        el("time", { datetime: pin.passed_at, title: fullDateTime(pin.passed_at) }, dateTime(pin.passed_at)),
      ),
      row("So far", count(pin.passes, "pass", "passes")),
      row("Images of", foreign(pin.owner)),
    ),
  );
}

/** Returns a list of pins at one place; a click on a pin calls `choose`. */
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
            el("span", { class: "aside" }, dateTime(pin.properties.passed_at)),
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

// Pins as they arrive: the newest in a list, a ripple on the map, and now and
// then a word for those who listen instead of look.
import { divIcon, type Map as LeafletMap, marker } from "leaflet";
import type { PinFeature } from "../lib/api";
import { el, fill, foreign } from "../lib/dom";
import { count, country, moment, momentInFull } from "../lib/format";
import { paced } from "../lib/pace";
import { motion } from "../lib/theme";
import { placeOf } from "./spots";

const LISTED = 6;
/** More at once would only flicker. */
const RIPPLES = 10;
/** A listener is told at most this often. */
const WORD_MS = 6000;

export class Arrivals {
  readonly element: HTMLElement;
  readonly #list = el("ol", { class: "arrivals-list" });
  readonly #announcement = el("p", { role: "status", class: "visually-hidden" });
  #newest: PinFeature[] = [];
  #unannounced: PinFeature[] = [];
  #ripples = 0;
  readonly #drawSoon = paced(250, () => this.#draw());
  #announcing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly map: LeafletMap,
    private readonly choose: (pin: PinFeature) => void,
  ) {
    this.element = el(
      "section",
      { class: "arrivals", "aria-label": "Newest" },
      el("h2", {}, "Just now"),
      this.#list,
      el("p", { class: "aside arrivals-none" }, "New pins show here as they pass."),
      this.#announcement,
    );
  }

  /** These have just passed, oldest first. */
  add(pins: PinFeature[]): void {
    const owners = new Set(pins.map(({ properties }) => properties.owner));
    const others = this.#newest.filter(({ properties }) => !owners.has(properties.owner));
    this.#newest = [...[...pins].reverse(), ...others].slice(0, LISTED);
    this.#unannounced.push(...pins);
    if (this.#announcing === undefined) this.#announcing = setTimeout(() => this.#announce(), 500);
    pins.forEach((pin) => this.#ripple(pin));
    this.#drawSoon();
  }

  #draw(): void {
    fill(
      this.#list,
      ...this.#newest.map((pin) => {
        const { name, city, country: code, passed_at } = pin.properties;
        return el(
          "li",
          {},
          el(
            "button",
            { type: "button", click: () => this.choose(pin) },
            el("span", { class: "who" }, foreign(name)),
            el("span", { class: "aside" }, foreign(`${city}, ${country(code)}`)),
            el(
              "time",
              { class: "aside", datetime: passed_at, title: momentInFull(passed_at) },
              moment(passed_at),
            ),
          ),
        );
      }),
    );
  }

  #ripple(pin: PinFeature): void {
    if (this.#ripples >= RIPPLES || !motion() || !this.map.getBounds().contains(placeOf(pin))) return;
    this.#ripples += 1;
    const ripple = marker(placeOf(pin), {
      icon: divIcon({ className: "ripple", iconSize: [14, 14] }),
      interactive: false,
      keyboard: false,
    }).addTo(this.map);
    setTimeout(() => {
      ripple.remove();
      this.#ripples -= 1;
    }, 2400);
  }

  #announce(): void {
    const [first] = this.#unannounced;
    if (first !== undefined) {
      const { name, city } = first.properties;
      const several = `${count(this.#unannounced.length, "new pin")} on the map.`;
      this.#announcement.textContent =
        this.#unannounced.length === 1 ? `${name}, ${city}, is on the map.` : several;
    }
    this.#unannounced = [];
    this.#announcing = setTimeout(() => {
      this.#announcing = undefined;
      if (this.#unannounced.length > 0) this.#announce();
    }, WORD_MS);
  }
}

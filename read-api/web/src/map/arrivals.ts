// New pins: a list of the newest, a ripple on the map for each, and an announcement for screen readers.
import { divIcon, type Map as LeafletMap, marker } from "leaflet";
import type { PinFeature } from "../lib/api";
import { el, setChildren, foreign } from "../lib/dom";
import { count, dateTime, fullDateTime, placeName } from "../lib/format";
import { throttled } from "../lib/throttle";
import { motion } from "../lib/theme";
import { placeOf } from "./feature-layer";

const LISTED = 6;
/** The number of ripples at one time. More would flicker. */
const RIPPLES = 10;
/** The shortest time between two announcements. */
const ANNOUNCEMENT_MS = 6000;

export class Arrivals {
  readonly element: HTMLElement;
  readonly #list = el("ol", { class: "arrivals-list" });
  readonly #announcement = el("p", { role: "status", class: "visually-hidden" });
  #newest: PinFeature[] = [];
  #unannounced: PinFeature[] = [];
  #ripples = 0;
  readonly #drawSoon = throttled(250, () => this.#draw());
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

  /** Adds pins that have just passed, oldest first. */
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
    setChildren(
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
            el("span", { class: "aside" }, foreign(placeName(city, code))),
            el(
              "time",
              { class: "aside", datetime: passed_at, title: fullDateTime(passed_at) },
              dateTime(passed_at),
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
    }, ANNOUNCEMENT_MS);
  }
}

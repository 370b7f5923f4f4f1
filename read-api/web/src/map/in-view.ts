// The map in words: what it shows, as a list of buttons. For the keyboard, and
// for those who do not see the canvas.
import type { SpotFeature } from "../lib/api";
import { el, fill, foreign } from "../lib/dom";
import { count, number } from "../lib/format";
import { paced } from "../lib/pace";
import { isCluster, pinsOf } from "./spots";

const LISTED = 10;

export class InView {
  readonly element: HTMLElement;
  readonly #summary = el("p", { class: "aside", role: "status" });
  readonly #list = el("ol", { class: "in-view-list" });
  /** To be called when what is on the screen may have changed. */
  readonly changed = paced(200, () => this.#draw(this.spots()));
  #keys = "";

  /** `spots` gives what is on the screen, those of most pins first. */
  constructor(
    private readonly spots: () => SpotFeature[],
    private readonly countryAt: (lat: number, lon: number) => string | null,
    private readonly open: (spot: SpotFeature) => void,
  ) {
    this.element = el(
      "details",
      { class: "in-view" },
      el("summary", {}, el("h2", {}, "In this view")),
      this.#summary,
      this.#list,
    );
  }

  #draw(spots: SpotFeature[]): void {
    const listed = spots.slice(0, LISTED);
    const keys = JSON.stringify(listed.map((spot) => [spot.id, spot.geometry.coordinates, pinsOf(spot)]));
    if (keys === this.#keys) return;
    this.#keys = keys;
    const pins = spots.reduce((sum, spot) => sum + pinsOf(spot), 0);
    const places = spots.length > LISTED ? ` The ${LISTED} largest of ${number(spots.length)} groups:` : "";
    this.#summary.textContent = pins === 0 ? "No pins here." : `${count(pins, "pin")}.${places}`;
    const hadFocus = this.#list.contains(document.activeElement);
    fill(this.#list, ...listed.map((spot) => el("li", {}, this.#button(spot))));
    // Whoever goes down through clusters by keyboard stays in the list.
    if (hadFocus) this.#list.querySelector("button")?.focus();
  }

  #button(spot: SpotFeature): HTMLElement {
    const [lon, lat] = spot.geometry.coordinates;
    const open = (): void => this.open(spot);
    if (!isCluster(spot)) {
      const { name, city } = spot.properties;
      return el(
        "button",
        { type: "button", click: open },
        foreign(name),
        el("span", { class: "aside" }, foreign(city)),
      );
    }
    const where = this.countryAt(lat, lon) ?? `${coordinate(lat, "N", "S")} ${coordinate(lon, "E", "W")}`;
    return el(
      "button",
      { type: "button", click: open, "data-cluster": "" },
      count(pinsOf(spot), "pin"),
      el("span", { class: "aside" }, where),
    );
  }
}

function coordinate(degrees: number, positive: string, negative: string): string {
  return `${number(Math.round(Math.abs(degrees)))}° ${degrees < 0 ? negative : positive}`;
}

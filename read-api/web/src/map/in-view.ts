// The visible features as a list of buttons, for the keyboard and for people who cannot see the canvas.
import type { MapFeature } from "../lib/api";
import { el, setChildren, foreign } from "../lib/dom";
import { count, number } from "../lib/format";
import { throttled } from "../lib/throttle";
import { isCluster, pinsOf } from "./features";

const LISTED = 10;

export class InView {
  readonly element: HTMLElement;
  readonly #summary = el("p", { class: "aside", role: "status" });
  readonly #list = el("ol", { class: "in-view-list" });
  /** Updates the list. Call this when the features on the screen may have changed. */
  readonly update = throttled(200, () => this.#draw(this.features()));
  #keys = "";

  /** `features` returns the features on the screen, those with the most pins first. */
  constructor(
    private readonly features: () => MapFeature[],
    private readonly countryAt: (lat: number, lon: number) => string | null,
    private readonly open: (feature: MapFeature) => void,
  ) {
    this.element = el(
      "details",
      { class: "in-view" },
      el("summary", {}, el("h2", {}, "In this view")),
      this.#summary,
      this.#list,
    );
  }

  #draw(features: MapFeature[]): void {
    const listed = features.slice(0, LISTED);
    const keys = JSON.stringify(
      listed.map((feature) => [feature.id, feature.geometry.coordinates, pinsOf(feature)]),
    );
    if (keys === this.#keys) return;
    this.#keys = keys;
    const pins = features.reduce((sum, feature) => sum + pinsOf(feature), 0);
    const places =
      features.length > LISTED ? ` The ${LISTED} largest of ${number(features.length)} groups:` : "";
    this.#summary.textContent = pins === 0 ? "No pins here." : `${count(pins, "pin")}.${places}`;
    const hadFocus = this.#list.contains(document.activeElement);
    setChildren(this.#list, ...listed.map((feature) => el("li", {}, this.#button(feature))));
    // The focus stays in the list if a cluster was opened by keyboard.
    if (hadFocus) this.#list.querySelector("button")?.focus();
  }

  #button(feature: MapFeature): HTMLElement {
    const [lon, lat] = feature.geometry.coordinates;
    const open = (): void => this.open(feature);
    if (!isCluster(feature)) {
      const { name, city } = feature.properties;
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
      count(pinsOf(feature), "pin"),
      el("span", { class: "aside" }, where),
    );
  }
}

function coordinate(degrees: number, positive: string, negative: string): string {
  return `${number(Math.round(Math.abs(degrees)))}° ${degrees < 0 ? negative : positive}`;
}

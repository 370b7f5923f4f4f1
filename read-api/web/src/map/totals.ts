// The totals and the charts of answers beside the map, kept up to date.
import type { Stats, Status } from "../lib/api";
import { el, setChildren, foreign, setText, svg } from "../lib/dom";
import { compact, count, number, percent, duration } from "../lib/format";
import { throttled } from "../lib/throttle";

/** The number of answers that a chart shows until it is expanded. */
const FIRST = 7;

const STATES: [Status, string][] = [
  ["submitted", "waiting"],
  ["verifying", "being checked"],
  ["passed", "passed"],
  ["failed", "not yet"],
];

export class Totals {
  readonly element: HTMLElement;
  readonly #pins = el("strong", {}, "–");
  readonly #pinsLabel = el("span", {}, "on the map");
  readonly #spread = el("p", { class: "spread" }, "\u00a0");
  readonly #states = el("dl", { class: "states" });
  readonly #pace = el("figure", { class: "pace" });
  readonly #charts = el("div", { class: "charts" });
  readonly #open = new Set<string>();
  #labels = new Map<string, string>();
  #stats: Stats | null = null;
  readonly #drawSoon = throttled(250, () => {
    if (this.#stats !== null) this.#draw(this.#stats);
  });

  constructor() {
    this.element = el(
      "section",
      { class: "totals", "aria-label": "Totals" },
      el("p", { class: "headline" }, this.#pins, " ", this.#pinsLabel),
      this.#spread,
      this.#states,
      this.#pace,
      this.#charts,
    );
  }

  /** Sets the challenge's labels of its answers, by field. */
  setLabels(labels: Map<string, string>): void {
    this.#labels = labels;
    this.#drawSoon();
  }

  show(stats: Stats): void {
    this.#stats = stats;
    this.#drawSoon();
  }

  #draw(stats: Stats): void {
    setText(this.#pins, number(stats.pins));
    const lands = Object.keys(stats.countries).length;
    const spread = `in ${count(stats.places, "place")} of ${count(lands, "country", "countries")}`;
    setText(this.#spread, stats.pins === 0 ? "Nobody has passed yet. The first pin could be yours." : spread);
    setChildren(
      this.#states,
      ...STATES.map(([state, label]) =>
        el(
          "div",
          { class: `state state-${state}` },
          el("dt", {}, label),
          el("dd", {}, compact(stats.submissions[state] ?? 0)),
        ),
      ),
    );
    this.#drawPace(stats);
    setChildren(
      this.#charts,
      ...Object.entries(stats.answers)
        .filter(([, choices]) => Object.keys(choices).length > 0)
        .map(([field, choices]) => this.#chart(field, choices)),
    );
  }

  #drawPace(stats: Stats): void {
    const minutes = stats.passes_per_minute;
    const passes = minutes.reduce((sum, value) => sum + value, 0);
    if (passes === 0) return setChildren(this.#pace);
    const highest = Math.max(...minutes);
    const [width, height] = [3, 28];
    const bars = minutes.map((value, at) =>
      svg("rect", {
        x: at * (width + 1),
        y: height - Math.max(1, (value / highest) * height),
        width,
        height: Math.max(1, (value / highest) * height),
        class: value === 0 ? "none" : "some",
      }),
    );
    const waited =
      stats.waited_ms_p50 === null ? "" : `; half have their verdict within ${duration(stats.waited_ms_p50)}`;
    setChildren(
      this.#pace,
      svg(
        "svg",
        {
          viewBox: `0 0 ${minutes.length * (width + 1) - 1} ${height}`,
          preserveAspectRatio: "none",
          "aria-hidden": "true",
        },
        ...bars,
      ),
      el("figcaption", {}, `${count(passes, "pass", "passes")} in the last hour of activity${waited}`),
    );
  }

  #chart(field: string, choices: Record<string, number>): HTMLElement {
    const label = this.#labels.get(field) ?? field;
    const sorted = Object.entries(choices)
      .filter(([, votes]) => votes > 0)
      .sort(([one, votes], [other, others]) => others - votes || one.localeCompare(other));
    const all = sorted.reduce((sum, [, votes]) => sum + votes, 0);
    const most = sorted[0]?.[1] ?? 1;
    const open = this.#open.has(field);
    const rows = sorted.slice(0, open ? undefined : FIRST).map(([answer, votes]) => {
      const bar = el("span", { class: "bar", "aria-hidden": "true" });
      bar.style.width = `${(votes / most) * 100}%`;
      return el(
        "li",
        {},
        el("span", { class: "answer" }, foreign(answer)),
        el(
          "span",
          { class: "votes" },
          number(votes),
          " ",
          el("span", { class: "share" }, percent(votes / all)),
        ),
        el("span", { class: "track", "aria-hidden": "true" }, bar),
      );
    });
    const rest = sorted.length - FIRST;
    const toggle = (): void => {
      if (!this.#open.delete(field)) this.#open.add(field);
      if (this.#stats !== null) this.#draw(this.#stats);
      document.getElementById(`more-${field}`)?.focus();
    };
    return el(
      "section",
      { class: "chart" },
      el("h2", {}, label),
      el("ol", {}, ...rows),
      rest > 0 &&
        el(
          "button",
          {
            type: "button",
            class: "link",
            id: `more-${field}`,
            "aria-expanded": String(open),
            click: toggle,
          },
          open ? "Show fewer" : `Show ${number(rest)} more`,
        ),
    );
  }
}

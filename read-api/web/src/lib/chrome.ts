// The parts that all pages share: the header, and the message that the connection is lost.
import "@fontsource-variable/inter/wght.css";
import "../style/base.css";
import { el, svg } from "./dom";
import { ownSubmissions } from "./own-submissions";
import { claimQuery, venueClaim } from "./venue";

type Page = "map" | "submit" | "status" | "organise" | "nowhere";

const PAGES: { page: Page; href: string; label: string }[] = [
  { page: "map", href: "/", label: "Map" },
  { page: "submit", href: "/submit", label: "Take part" },
];

/** Returns the header of a page, with links to the other pages and to what was sent from this browser. */
export function header(current: Page): HTMLElement {
  const venue = claimQuery(venueClaim(location.search));
  const links = PAGES.map(({ page, href, label }) =>
    el("a", { href: href + venue, "aria-current": page === current && "page" }, label),
  );
  const [newest, ...others] = ownSubmissions();
  if (newest !== undefined) {
    const href = others.length === 0 ? `/s/${encodeURIComponent(newest.id)}` : "/submit#yours";
    const isHere = location.pathname === href;
    links.push(el("a", { href, "aria-current": isHere && "page" }, "Yours"));
  }
  return el(
    "header",
    { class: "top" },
    el(
      "a",
      { class: "brand", href: "/", "aria-label": "Muster: to the map" },
      mark(),
      el("span", {}, "Muster"),
    ),
    el("nav", { "aria-label": "Pages" }, ...links),
  );
}

/** Returns Muster's mark. */
export function mark(): SVGSVGElement {
  return svg(
    "svg",
    { viewBox: "0 0 32 32", class: "mark", "aria-hidden": "true" },
    svg("circle", { cx: 16, cy: 16, r: 13 }),
    svg("path", { d: "M10 16.5l4.2 4.2 8-9" }),
  );
}

/** A line at the foot of the window, shown while the server does not respond. */
export class ConnectionNotice {
  readonly element: HTMLElement;
  readonly #text = el("span");

  constructor(retry: () => void) {
    const again = el("button", { type: "button", class: "link", click: retry }, "Try now");
    this.element = el("div", { class: "connection", role: "status", "aria-live": "polite" });
    this.#lost = el("p", {}, el("span", { class: "pulse", "aria-hidden": "true" }), this.#text, again);
  }

  readonly #lost: HTMLElement;

  showLost(message: string): void {
    const text = `${message} What you see is kept, and this page tries again by itself. `;
    if (this.#text.textContent !== text) this.#text.textContent = text;
    if (!this.#lost.isConnected) this.element.replaceChildren(this.#lost);
  }

  hide(): void {
    if (this.#lost.isConnected) this.element.replaceChildren();
  }
}

// The authors of the map's data, whose licence demands that they are named wherever it is shown.
import { el } from "../lib/dom";

/** Returns the line that names the authors. */
export function credits(): HTMLElement {
  return el(
    "span",
    {},
    "Map: ",
    el("a", { href: "https://www.naturalearthdata.com" }, "Natural Earth"),
    " · Places: ",
    el("a", { href: "https://www.geonames.org" }, "GeoNames"),
    ", ",
    el("a", { href: "https://creativecommons.org/licenses/by/4.0/" }, "CC BY 4.0"),
  );
}

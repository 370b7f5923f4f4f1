// The submission's address to take along: as a link to copy and as a QR picture for a phone.
import { encode } from "uqr";
import { el, setText, svg } from "../lib/dom";

/** Returns the section for the address `url`. */
export function takeAlong(url: string): HTMLElement {
  const said = el("p", { class: "aside", role: "status" });
  const copy = el(
    "button",
    { type: "button", class: "button", click: () => void copyAddress() },
    "Copy the link",
  );
  async function copyAddress(): Promise<void> {
    try {
      await navigator.clipboard.writeText(url);
      setText(said, "The link is copied.");
    } catch {
      // Without TLS or leave there is no clipboard; the address above can be selected.
      getSelection()?.selectAllChildren(address);
      setText(said, "The link is selected: copy it with Ctrl+C or by a long press.");
    }
  }
  const address = el("a", { href: url, class: "address" }, url);
  return el(
    "section",
    { class: "along" },
    el("h2", {}, "Take it along"),
    el(
      "div",
      { class: "along-parts" },
      qrPicture(url),
      el(
        "div",
        {},
        el(
          "p",
          { class: "aside" },
          "This page is at the address below, for everybody who has it. Point a phone at the picture to open it there.",
        ),
        el("p", {}, address),
        el("p", { class: "ways" }, copy),
        said,
      ),
    ),
  );
}

/** Draws a QR picture of `text`: dark on white in light and dark, because phones expect it so. */
export function qrPicture(text: string): SVGSVGElement {
  const { modules, size } = qrModules(text);
  const path = modules.map(([x, y]) => `M${x} ${y}h1v1h-1z`).join("");
  return svg(
    "svg",
    {
      class: "qr",
      viewBox: `0 0 ${size} ${size}`,
      role: "img",
      "aria-label": "QR picture of the link",
      "shape-rendering": "crispEdges",
    },
    svg("path", { fill: "#fff", d: `M0 0h${size}v${size}H0z` }),
    svg("path", { fill: "#000", d: path }),
  );
}

/** Returns the places of the dark modules, and the length of a side with the quiet zone around the code. */
export function qrModules(text: string): { modules: [x: number, y: number][]; size: number } {
  const { data, size } = encode(text, { ecc: "M", border: 4 });
  const modules = data.flatMap((row, y) =>
    row.flatMap((dark, x): [x: number, y: number][] => (dark ? [[x, y]] : [])),
  );
  return { modules, size };
}

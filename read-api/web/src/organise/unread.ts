// The events of the log that change no view: those at which a submission stands still, and strangers'.
import type { Overview } from "../lib/api";
import { el, foreign } from "../lib/dom";
import { count } from "../lib/format";

/** The number of lines of a list. */
const LINES_MAX = 20;

/** Returns the submissions that stand still, with the reasons for the operator. */
export function standingStill(all: Overview["standing_still"]): HTMLElement {
  if (all.length === 0) return el("p", { class: "aside" }, "Nothing stands still.");
  const lines = all.slice(0, LINES_MAX).map(({ id, position, type, why }) => {
    const submission = el("a", { href: `/s/${id}` }, el("code", {}, id));
    return el("li", {}, submission, ` at position ${position}, `, foreign(type), ": ", foreign(why));
  });
  return list(lines, `The first ${LINES_MAX}.`, all.length);
}

/** Returns the newest events of strangers, newest first. */
export function setAside({ count: all, newest }: Overview["set_aside"]): HTMLElement {
  if (all === 0) return el("p", { class: "aside" }, "There are none.");
  const lines = newest
    .slice(-LINES_MAX)
    .reverse()
    .map(({ position, stream, type, why }) =>
      el("li", {}, foreign(stream), ` at position ${position}, `, foreign(type), ": ", foreign(why)),
    );
  const lead = `${count(all, "event")} in streams with names of Muster's. They change nothing.`;
  return el("div", {}, el("p", { class: "aside" }, lead), list(lines, `The newest ${LINES_MAX}.`, all));
}

function list(lines: HTMLElement[], cut: string, all: number): HTMLElement {
  return el(
    "div",
    {},
    el("ul", { class: "unread" }, ...lines),
    all > lines.length && el("p", { class: "aside" }, cut),
  );
}

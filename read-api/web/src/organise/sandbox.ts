// The verifiers, their nodes and slots, and the number of attempts under way.
import type { LimitedRegistry, Sandbox, SandboxNode } from "../lib/api";
import { el, foreign } from "../lib/dom";
import { count, dateTime, fullDateTime, number } from "../lib/format";

const NODE_STATES: Partial<Record<string, string>> = {
  ready: "ready",
  paused: "paused by an operator",
  drained: "drained by an operator",
  down: "not heard of",
  refused: "refused",
};

/** What an app may do on a node. */
const GRADES: Partial<Record<string, string>> = {
  writable: "writable",
  read_only: "read-only",
  bare: "read-only, no capabilities",
};

/** Returns one table for each verifier, the verifier with the most nodes first. */
export function sandboxes(all: Sandbox[]): HTMLElement {
  if (all.length === 0) return el("p", { class: "aside" }, "No verifier has reported yet.");
  const sorted = [...all].sort((one, other) => other.nodes.length - one.nodes.length);
  return el("div", { class: "sandboxes" }, ...sorted.map(sandbox));
}

function sandbox(one: Sandbox): HTMLElement {
  const since = el("time", { datetime: one.since, title: fullDateTime(one.since) }, dateTime(one.since));
  const working = `${number(one.under_way)} of ${count(one.slots, "slot")} in use`;
  const how = one.silent
    ? "has stopped reporting, so it has probably died"
    : one.trouble === null
      ? working
      : `verifies nothing: ${one.trouble}`;
  return el(
    "section",
    { class: one.trouble === null && !one.silent ? "sandbox" : "sandbox troubled" },
    el("h3", {}, foreign(one.verifier)),
    el("p", { class: "aside" }, foreign(how), ". It reported last: ", since),
    ...one.registries.map(registry),
    one.nodes.length > 0 && nodes(one.verifier, one.nodes),
  );
}

/** Returns the limits of a registry: its pause, and the pulls that are left. */
function registry({ name, paused_until, reason, pulls_remaining }: LimitedRegistry): HTMLElement {
  const pause =
    paused_until === null
      ? ""
      : ` is not asked until ${dateTime(paused_until)}: ${reason ?? "it limits requests"}`;
  const pulls = pulls_remaining === null ? "" : ` permits ${count(pulls_remaining, "more pull")} for now`;
  const text = [pause, pulls].filter((part) => part !== "").join(";");
  return el(
    "p",
    { class: "aside", "data-registry": name },
    foreign(name),
    foreign(text === "" ? " is asked again" : text),
  );
}

function nodes(verifier: string, all: SandboxNode[]): HTMLElement {
  const head = el(
    "tr",
    {},
    ...["Node", "State", "Sandbox", "Slots", "Under way"].map((text) => el("th", { scope: "col" }, text)),
  );
  const rows = all.map((node) =>
    el(
      "tr",
      { "data-node": node.name, "data-state": node.state },
      el("td", {}, foreign(node.name)),
      el(
        "td",
        {},
        el("span", { class: `state-of-node ${node.state}` }, NODE_STATES[node.state] ?? node.state),
        node.reason !== null && el("div", { class: "aside" }, foreign(node.reason)),
      ),
      el("td", {}, node.grade === null ? "–" : (GRADES[node.grade] ?? node.grade)),
      el("td", {}, number(node.slots)),
      el("td", {}, number(node.under_way)),
    ),
  );
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": `Nodes of ${verifier}` },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)),
  );
}

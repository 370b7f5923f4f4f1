// The sandbox that an app runs in, told before anything is submitted.
import type { Challenge } from "../lib/api";
import { el } from "../lib/dom";
import { count } from "../lib/format";

/** Returns the section that says what an app may use, and how to run it alike on one's own machine. */
export function sandboxSection(challenge: Challenge): HTMLElement {
  return el(
    "details",
    { class: "expected" },
    el("summary", {}, "What your app may use"),
    el("ul", { class: "hint" }, ...sandboxSentences(challenge).map((sentence) => el("li", {}, sentence))),
    el(
      "p",
      { class: "hint" },
      "To run it alike on your own machine, but for Muster's filter of system calls, which “muster try” has:",
    ),
    el(
      "pre",
      { tabindex: 0, "aria-label": "The command that runs your image alike" },
      challenge.sandbox.docker_run,
    ),
  );
}

/** Returns the limits of the sandbox, one sentence each. */
export function sandboxSentences({ probe, sandbox }: Challenge): string[] {
  const { memory_mib: memory, processors, processes, start_s: start, answer_s: answer, writable } = sandbox;
  return [
    `${memory} MiB of memory, in which the files that it writes count too, ${processors} of a processor, ` +
      `and ${count(processes, "process", "processes")}.`,
    writable === null
      ? "It may write everywhere in its container."
      : `It may write to its volumes and to ${writable.join(", ")}. ` +
        "If it fails where the rest is read-only, a machine where it may write everywhere tries it again, if there is one.",
    `It has ${start} s from its start until it answers on port ${probe.port}, and ${answer} s for each answer.`,
    "It has no network, and it must listen on all addresses, such as 0.0.0.0, not on 127.0.0.1 alone.",
  ];
}

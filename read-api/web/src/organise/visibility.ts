// Hiding a pin and showing it again.
import { el, setChildren } from "../lib/dom";
import { Field, showFailure } from "../lib/field";
import { count } from "../lib/format";
import { Failure, getLines, post } from "../lib/http";

type Command = "hide" | "show";

const DONE: Record<Command, string> = { hide: "hidden", show: "shown again" };

/** Returns the form. `token` returns the organiser's token. */
export function visibilityForm(token: () => string | null): HTMLElement {
  const input = (id: string): HTMLInputElement =>
    el("input", { id, autocomplete: "off", spellcheck: "false" });
  const which = new Field("which", input("hide-which"), {
    label: "Pin or submission",
    hint: "The owner that the pin's card names, such as docker.io/ada; or the id of one submission, or the address of its page.",
  });
  const reason = new Field("why", input("hide-why"), { label: "Why", hint: "The participant reads this." });
  const by = new Field("by", input("hide-by"), {
    label: "Who asks",
    hint: "The participant reads this too.",
    optional: true,
  });
  const fields: [Field, ...Field[]] = [which, reason, by];
  const answer = el("p", { role: "status" });
  const buttons = [
    el("button", { class: "button", name: "command", value: "hide" }, "Hide it"),
    el("button", { class: "button", name: "command", value: "show" }, "Show it again"),
  ];
  const form = el(
    "form",
    { class: "form", novalidate: true },
    which.element,
    el("div", { class: "pair" }, reason.element, by.element),
    el("div", { class: "actions ways" }, ...buttons),
    answer,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const command = (event.submitter as HTMLButtonElement | null)?.value === "show" ? "show" : "hide";
    fields.forEach((field) => field.clearError());
    setChildren(answer);
    const missing = [which, reason].filter((field) => field.value === "");
    missing.forEach((field) => field.showError("This is required."));
    if (missing.length > 0) return missing[0]?.control.focus();
    const body = { why: reason.value, ...(by.value === "" ? {} : { by: by.value }) };
    // One command at a time: without a button that can be pressed, Enter sends nothing either.
    const enable = (enabled: boolean): void => buttons.forEach((button) => (button.disabled = !enabled));
    enable(false);
    void changeVisibility(command, which.value, body, token())
      .then(
        (changed) => {
          setChildren(answer, `${count(changed, "submission")} ${DONE[command]}.`);
          fields.forEach((field) => (field.control.value = ""));
          which.control.focus();
        },
        (error: unknown) => showFailure(fields, error as Failure),
      )
      .finally(() => enable(true));
  });
  return form;
}

/**
 * Sends the command for each submission, and returns their number. If one of them fails, the failure says how many are
 * done; sending the command again changes nothing for these.
 */
export async function changeVisibility(
  command: Command,
  which: string,
  body: unknown,
  token: string | null,
): Promise<number> {
  const options = token === null ? {} : { token };
  const id = submissionId(which);
  const ids = id === null ? await passedOf(which, options) : [id];
  for (const [done, one] of ids.entries()) {
    try {
      await post<unknown>(`/api/v1/submissions/${one}/${command}`, body, options);
    } catch (error) {
      if (done === 0) throw error;
      const { message, status } = error as Failure;
      const progress = `${done} of ${count(ids.length, "submission")} ${DONE[command]}, then: ${message}`;
      throw new Failure(progress, status);
    }
  }
  return ids.length;
}

/** Returns the id in a text that is one, or that ends with one as a page's address does; otherwise `null`. */
export function submissionId(text: string): string | null {
  return /(?:^|\/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/?$/i.exec(text)?.[1] ?? null;
}

/** Returns the submissions of an owner that ever passed, hidden or not. */
async function passedOf(owner: string, options: { token?: string }): Promise<string[]> {
  const path = `/api/v1/history?type=Passed&owner=${encodeURIComponent(owner)}`;
  const lines = await getLines<{ stream: string }>(path, options);
  const ids = new Set(lines.map(({ stream }) => stream.replace("submission-", "")));
  if (ids.size === 0) throw new Failure(`No submission of ${owner} has passed.`, 404);
  return [...ids];
}

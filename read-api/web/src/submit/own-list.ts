// The list of the submissions that were sent from this browser, with how each stands.
import type { Submission } from "../lib/api";
import { el, foreign, setChildren } from "../lib/dom";
import { dateTime, fullDateTime } from "../lib/format";
import { type Failure, get } from "../lib/http";
import { forgetAllOwn, forgetOwn, type OwnSubmission, ownSubmissions } from "../lib/own-submissions";
import { standingOf } from "../lib/standing";

/** Returns the list, or `null` if nothing was sent from this browser. */
export function ownList(): HTMLElement | null {
  const own = ownSubmissions();
  if (own.length === 0) return null;
  const forget = el(
    "button",
    { type: "button", class: "link", click: () => forgetAll() },
    "Forget them here",
  );
  const section = el(
    "section",
    { class: "own", id: "yours", "aria-labelledby": "yours-heading" },
    el("h2", { id: "yours-heading", tabindex: -1 }, "Sent from this browser"),
    el("ul", {}, ...own.map(item)),
    el("p", { class: "hint" }, "Only this browser knows of this list. ", forget),
  );
  function forgetAll(): void {
    forgetAllOwn();
    setChildren(
      section,
      el("p", { class: "hint", role: "status", tabindex: -1 }, "This browser forgot them."),
    );
    section.querySelector("p")?.focus();
  }
  return section;
}

function item({ id, name, sentAt }: OwnSubmission): HTMLElement {
  const standing = el("span", { class: "own-standing" }, "…");
  const element = el(
    "li",
    {},
    el("a", { href: `/s/${encodeURIComponent(id)}` }, foreign(name)),
    el("time", { datetime: sentAt, title: fullDateTime(sentAt) }, dateTime(sentAt)),
    standing,
  );
  void get<Submission>(`/api/v1/submissions/${encodeURIComponent(id)}`).then(
    (submission) => {
      standing.textContent = standingOf(submission);
      element.dataset.status = submission.status;
    },
    (error: unknown) => {
      const { status } = error as Failure;
      standing.textContent = status === 404 || status === 410 ? "Gone" : "";
      // A submission that is gone is shown once more and then no longer.
      if (status === 404 || status === 410) forgetOwn(id);
    },
  );
  return element;
}

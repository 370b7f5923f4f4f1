// The organiser's page: waiting submissions with the reason, slots and nodes, failures by reason,
// and rejudging. The organiser's token stays in this tab.
import "../style/organise.css";
import type { Overview, Sandboxes, SubmissionView } from "../lib/api";
import { ConnectionNotice, header } from "../lib/chrome";
import { el, setChildren, setText, foreign } from "../lib/dom";
import { Field, showFailure } from "../lib/field";
import { dateTime, fullDateTime, number, duration } from "../lib/format";
import { type Failure, get, post } from "../lib/http";
import { presentStep } from "../status/steps";
import { failureText, interruptionTitle } from "../status/failure-text";
import { HeldBoard } from "./held";
import { sandboxes } from "./sandbox";
import { TokenBoard, getTokens } from "./tokens";
import { setAside, standingStill } from "./unread";
import { visibilityForm } from "./visibility";
import { WebhookBoard, getWebhooks } from "./webhooks";

const TOKEN = "muster.token";
const REFRESH_MS = 5000;

const place = el("div", { class: "parts" });
const connection = new ConnectionNotice(() => void refresh());
let token = sessionStorage.getItem(TOKEN);
let timer: ReturnType<typeof setTimeout> | undefined;

document.body.append(
  header("organise"),
  el("main", { class: "sheet wide" }, el("h1", {}, "Organise"), place),
  connection.element,
);
if (token === null) askForToken();
else void refresh();

function askForToken(refusal?: string): void {
  clearTimeout(timer);
  const field = new Field(
    "token",
    el("input", { id: "token", type: "password", autocomplete: "current-password" }),
    {
      label: "Organiser's token",
      hint: "What the server was started with, as MUSTER_TOKEN. It stays in this tab, and is sent to this server only.",
    },
  );
  const form = el(
    "form",
    { class: "form", novalidate: true },
    field.element,
    el("button", { class: "button primary" }, "Continue"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value === "") {
      field.showError("Type the token.");
      return;
    }
    token = field.value;
    void refresh();
  });
  setChildren(place, form);
  if (refusal !== undefined) field.showError(refusal);
  field.control.focus();
}

async function refresh(): Promise<void> {
  clearTimeout(timer);
  if (token === null) return;
  try {
    const [overview, { verifiers }, webhooks, tokens] = await Promise.all([
      get<Overview>("/api/v1/organiser", { token }),
      get<Sandboxes>("/api/v1/sandbox", { token }),
      getWebhooks(token),
      getTokens(token),
    ]);
    sessionStorage.setItem(TOKEN, token);
    connection.hide();
    draw(overview);
    tokenSection.hidden = tokens === null;
    board.tokens.show(tokens ?? []);
    setChildren(board.sandboxes, sandboxes(verifiers));
    webhookSection.hidden = webhooks === null;
    board.webhooks.show(webhooks ?? []);
  } catch (error) {
    const failure = error as Failure;
    if (failure.status === 401 || failure.status === 403) {
      sessionStorage.removeItem(TOKEN);
      token = null;
      askForToken(failure.message);
      return;
    }
    connection.showLost(failure.message);
  }
  timer = setTimeout(() => void refresh(), REFRESH_MS);
}

const board = {
  platform: el("p", { role: "status" }),
  figures: el("dl", { class: "figures" }),
  unfinished: el("div"),
  givenUp: el("div"),
  standing: el("div"),
  setAside: el("div"),
  sandboxes: el("div"),
  failures: el("div"),
  interruptions: el("div"),
  visibility: visibilityForm(() => token),
  rejudge: rejudge(),
  webhooks: new WebhookBoard(
    () => token,
    () => void refresh(),
  ),
  held: new HeldBoard(
    () => token,
    () => void refresh(),
  ),
  tokens: new TokenBoard(
    () => token,
    () => void refresh(),
  ),
};
const webhookSection = section("Webhooks", board.webhooks.element);
const tokenSection = section("Tokens", board.tokens.element);
const moderation = [
  section("Ask for another verdict", board.rejudge),
  section("Hide a pin", board.visibility),
];

function draw(overview: Overview): void {
  if (!board.figures.isConnected) {
    const leave = el("button", { type: "button", class: "link", click: forgetToken }, "Forget the token");
    setChildren(
      place,
      board.platform,
      board.figures,
      section("Names that wait for a look", board.held.element),
      section("What waits, and why", board.unfinished),
      section("What we could not run", board.givenUp),
      section("What stands still", board.standing),
      section("Events of strangers", board.setAside),
      section("Slots and nodes", board.sandboxes),
      el(
        "div",
        { class: "pair" },
        section("Failures by reason", board.failures),
        section("Broken off by our fault", board.interruptions),
      ),
      webhookSection,
      ...moderation,
      tokenSection,
      el("p", {}, leave),
    );
  }
  const mayAct = overview.role !== "analyst";
  board.held.show(overview.held, mayAct);
  moderation.forEach((part) => (part.hidden = !mayAct));
  board.platform.className = overview.platform === null ? "note note-ok" : "note note-wait";
  const cause = overview.platform_cause === null ? "" : ` (${overview.platform_cause})`;
  setText(
    board.platform,
    (overview.platform ?? "All is well: submissions are verified as they come.") + cause,
  );
  setChildren(
    board.figures,
    figure("waiting", number(overview.waiting)),
    figure("being verified", number(overview.verifying)),
    figure(
      "half wait no longer than",
      overview.waited_ms_p50 === null ? "–" : duration(overview.waited_ms_p50),
    ),
    figure("95% no longer than", overview.waited_ms_p95 === null ? "–" : duration(overview.waited_ms_p95)),
  );
  setChildren(
    board.unfinished,
    listed("What waits", overview.unfinished, overview.waiting + overview.verifying, "Nothing waits."),
  );
  setChildren(
    board.givenUp,
    listed("What we could not run", overview.given_up, overview.given_up_count, "Everything could be run."),
  );
  setChildren(board.standing, standingStill(overview.standing_still));
  setChildren(board.setAside, setAside(overview.set_aside));
  setChildren(
    board.failures,
    counts(overview.failures, (code) => failureText(code).title, "No submission has failed."),
  );
  setChildren(
    board.interruptions,
    counts(overview.interruptions, interruptionTitle, "Nothing was broken off."),
  );
}

function listed(label: string, submissions: SubmissionView[], all: number, none: string): HTMLElement {
  if (submissions.length === 0) return el("p", { class: "aside" }, none);
  const head = el(
    "tr",
    {},
    ...["Since", "Who", "Attempts", "Why it is not done"].map((text) => el("th", { scope: "col" }, text)),
  );
  const rows = submissions.map((one) =>
    el(
      "tr",
      {},
      el(
        "td",
        {},
        el(
          "time",
          { datetime: one.submitted_at, title: fullDateTime(one.submitted_at) },
          dateTime(one.submitted_at),
        ),
      ),
      el(
        "td",
        {},
        el("a", { href: `/s/${one.id}` }, foreign(one.name)),
        el("div", { class: "aside" }, foreign(one.owner)),
      ),
      el("td", {}, number(one.attempts)),
      el("td", {}, why(one)),
    ),
  );
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)),
    all > submissions.length &&
      el("p", { class: "aside" }, `The newest ${number(submissions.length)} of ${number(all)}.`),
  );
}

function why({ status, waiting, timeline, submitted_at }: SubmissionView): string {
  if (status === "verifying")
    return `${presentStep({ timeline })}, since ${dateTime(timeline.at(-1)?.at ?? submitted_at)}`;
  if (status === "given_up")
    return timeline.findLast((entry) => entry.type === "GivenUp")?.data.message ?? "";
  if (waiting === null || waiting.code === null) return waiting?.message || "It waits for its turn.";
  const again = waiting.retry_at === null ? "when the platform is well" : `at ${dateTime(waiting.retry_at)}`;
  return `${waiting.message} Again ${again}.`;
}

function counts(by: Record<string, number>, name: (code: string) => string, none: string): HTMLElement {
  const sorted = Object.entries(by).sort(([, one], [, other]) => other - one);
  if (sorted.length === 0) return el("p", { class: "aside" }, none);
  return el(
    "dl",
    { class: "counts" },
    ...sorted.map(([code, count]) =>
      el("div", {}, el("dt", { title: code }, name(code)), el("dd", {}, number(count))),
    ),
  );
}

function rejudge(): HTMLElement {
  const input = (id: string): HTMLInputElement =>
    el("input", { id, autocomplete: "off", spellcheck: "false" });
  const id = new Field("id", input("rejudge-id"), {
    label: "Submission",
    hint: "Its id, or the address of its page.",
  });
  const reason = new Field("why", input("rejudge-why"), {
    label: "Why",
    hint: "The participant reads this.",
  });
  const by = new Field("by", input("rejudge-by"), {
    label: "Who asks",
    hint: "The participant reads this too.",
    optional: true,
  });
  const answer = el("p", { role: "status" });
  const button = el("button", { class: "button" }, "Ask for another verdict");
  const form = el(
    "form",
    { class: "form", novalidate: true },
    id.element,
    el("div", { class: "pair" }, reason.element, by.element),
    el("div", { class: "actions" }, button),
    answer,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const fields: [Field, ...Field[]] = [id, reason, by];
    fields.forEach((field) => field.clearError());
    setChildren(answer);
    const missing = [id, reason].filter((field) => field.value === "");
    missing.forEach((field) => field.showError("This is required."));
    if (missing.length > 0) return missing[0]?.control.focus();
    const which = encodeURIComponent(id.value.split("/").at(-1) ?? "");
    const body = { why: reason.value, ...(by.value === "" ? {} : { by: by.value }) };
    button.disabled = true;
    void post<unknown>(`/api/v1/submissions/${which}/rejudge`, body, token === null ? {} : { token })
      .then(
        () => {
          setChildren(
            answer,
            "It waits to be verified again: ",
            el("a", { href: `/s/${which}` }, "follow it"),
            ".",
          );
          fields.forEach((field) => (field.control.value = ""));
          id.control.focus();
          void refresh();
        },
        (error: unknown) => showFailure(fields, error as Failure),
      )
      .finally(() => (button.disabled = false));
  });
  return form;
}

function forgetToken(): void {
  sessionStorage.removeItem(TOKEN);
  token = null;
  askForToken();
}

function section(title: string, content: HTMLElement): HTMLElement {
  return el("section", {}, el("h2", {}, title), content);
}

function figure(label: string, value: string): HTMLElement {
  return el("div", {}, el("dt", {}, label), el("dd", {}, value));
}

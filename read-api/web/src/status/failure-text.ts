// Explains the codes of failures to a participant who has not seen them before.
import type { Challenge, FailureCode, InterruptionCode } from "../lib/api";

/** The stage that a verification reached. */
export type Stage = "pull" | "run" | "ask";

interface FailureText {
  title: string;
  stage: Stage;
  expected: string;
}

const PULLED = "An image that everybody can pull, and that runs on linux/amd64.";
const RUNS = "A container that starts, and goes on running until it is asked.";
const ANSWERS = "Status 200 and one JSON object that says what you submitted.";

export const FAILURE_TEXTS: Record<FailureCode, FailureText> = {
  image_not_found: { title: "The registry does not have this image", stage: "pull", expected: PULLED },
  image_forbidden: { title: "The registry does not give this image to us", stage: "pull", expected: PULLED },
  image_too_large: {
    title: "The image is too large",
    stage: "pull",
    expected: "An image within the size limit.",
  },
  wrong_platform: { title: "The image is built for another machine", stage: "pull", expected: PULLED },
  image_refused: { title: "The image asks for what is not run here", stage: "pull", expected: PULLED },
  did_not_start: { title: "The container did not start", stage: "run", expected: RUNS },
  exited_early: { title: "The app ended before we could ask it", stage: "run", expected: RUNS },
  out_of_memory: {
    title: "The app took more memory than it may",
    stage: "run",
    expected: "An app that stays within its memory.",
  },
  nothing_on_port: {
    title: "Nobody listened on the port",
    stage: "ask",
    expected: "An app that accepts connections there.",
  },
  timed_out: { title: "The app did not answer in time", stage: "ask", expected: ANSWERS },
  bad_http: { title: "The answer is not HTTP", stage: "ask", expected: ANSWERS },
  answer_too_large: { title: "The answer is too long", stage: "ask", expected: ANSWERS },
  bad_status: { title: "The app answered with an error", stage: "ask", expected: ANSWERS },
  redirected: {
    title: "The app sent us elsewhere",
    stage: "ask",
    expected: "An answer at the address itself.",
  },
  not_json: { title: "The answer is not the JSON that we asked for", stage: "ask", expected: ANSWERS },
  mismatch: { title: "The answer differs from what you submitted", stage: "ask", expected: ANSWERS },
};

export const INTERRUPTION_TITLES: Record<InterruptionCode, string> = {
  registry_unavailable: "The registry did not answer",
  rate_limited: "The registry limited our requests",
  pull_failed: "An image did not arrive on the node",
  no_capacity: "No node had room",
  swarm_unavailable: "The Swarm did not answer",
  node_lost: "The node went away",
  node_ill: "The node had no disk left, or its engine failed",
  slot_failed: "The slot's network or its relay failed",
  lease_expired: "The verifier went away, or took too long",
  verifier_stopped: "The verifier was stopped",
};

/** Returns the explanation of a code. A code that is newer than this page is shown by its own name. */
export function failureText(code: string): FailureText {
  const known: Partial<Record<string, FailureText>> = FAILURE_TEXTS;
  return known[code] ?? { title: plainCode(code), stage: "ask", expected: ANSWERS };
}

/** Returns a sentence about what Muster did in a stage. */
export function describeStage(stage: Stage, challenge: Challenge | null): string {
  if (stage === "pull") return "Looked the image up in its registry, to pull it.";
  if (stage === "run") return "Pulled the image and started a container of it.";
  return `Started a container and sent it ${request(challenge)}.`;
}

/** Describes the request that an app receives. */
export function request(challenge: Challenge | null): string {
  return challenge === null
    ? "one HTTP request"
    : `GET ${challenge.probe.path} on port ${challenge.probe.port}`;
}

/** Returns the title of an interruption. A code that is newer than this page is shown by its own name. */
export function interruptionTitle(code: string): string {
  const known: Partial<Record<string, string>> = INTERRUPTION_TITLES;
  return known[code] ?? plainCode(code);
}

function plainCode(code: string): string {
  return code.replaceAll("_", " ");
}

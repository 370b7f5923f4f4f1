// What the codes of a verdict mean, in words for somebody who does this for the first time.
import type { Challenge } from "../lib/api";

/** How far a verification had come. */
export type Stage = "pull" | "run" | "ask";

interface Meaning {
  title: string;
  stage: Stage;
  expected: string;
}

const PULLED = "An image that everybody can pull, and that runs on linux/amd64.";
const RUNS = "A container that starts, and goes on running until it is asked.";
const ANSWERS = "Status 200 and one JSON object that says what you submitted.";

const MEANINGS: Record<string, Meaning> = {
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

/** What a code means; a code that is newer than this page keeps its own name. */
export function meaning(code: string): Meaning {
  return MEANINGS[code] ?? { title: plain(code), stage: "ask", expected: ANSWERS };
}

/** What we did to an app, as a sentence. */
export function whatWeDid(stage: Stage, challenge: Challenge | null): string {
  if (stage === "pull") return "Looked the image up in its registry, to pull it.";
  if (stage === "run") return "Pulled the image and started a container of it.";
  return `Started a container and sent it ${request(challenge)}.`;
}

/** The request that an app is sent. */
export function request(challenge: Challenge | null): string {
  return challenge === null
    ? "one HTTP request"
    : `GET ${challenge.probe.path} on port ${challenge.probe.port}`;
}

/** `no_capacity` as `no capacity`. */
export function plain(code: string): string {
  return code.replaceAll("_", " ");
}

/** An image's name as people type it. */
export function familiar(image: string): string {
  return image.replace(/^docker\.io\//, "").replace(/:latest$/, "");
}

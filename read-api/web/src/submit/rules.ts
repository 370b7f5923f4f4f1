// What can be said of a field before anything is sent. The server has the last
// word; this only spares a beginner the way there and back.
import type { Challenge, Entry } from "../lib/api";

/** What is wrong with an entry, by field (`name`, `images[1]`, `vote`, …). */
export function check(entry: Entry, challenge: Challenge): Map<string, string> {
  const wrong = new Map<string, string>();
  const characters = Array.from(entry.name).length;
  if (characters < 3 || characters > 50) wrong.set("name", "A name has 3 to 50 characters.");
  if (entry.twitter !== undefined && !/^@\w{2,48}$/.test(entry.twitter)) {
    wrong.set("twitter", "Write @username, with letters, digits and _ only.");
  }
  if (entry.location === "")
    wrong.set("location", "Name a city, and its country if the name is a common one.");
  entry.images.forEach((image, at) => {
    const why = imageFault(image);
    if (why !== null) wrong.set(`images[${at}]`, why);
  });
  if (entry.images.length < challenge.images.min) {
    const one =
      challenge.images.min === 1 ? "Name an image." : `Name at least ${challenge.images.min} images.`;
    wrong.set(`images[${entry.images.length}]`, one);
  }
  for (const { field, required, choices } of challenge.answers) {
    if (required && !entry[field]) wrong.set(field, choices.length > 0 ? "Choose one." : "This is required.");
  }
  return wrong;
}

/** What an app must answer for this entry to pass. */
export function expectedAnswer(entry: Entry, challenge: Challenge): Record<string, unknown> {
  const said: Record<string, unknown> = { ...entry, twitter: entry.twitter ?? "", repo: entry.images };
  return Object.fromEntries(challenge.probe.compare.map((field) => [field, said[field] ?? ""]));
}

function imageFault(image: string): string | null {
  if (image.includes("://")) return "This is a web address; write the name that docker pull takes.";
  if (/\s/.test(image)) return "An image's name has no spaces.";
  if (/[A-Z]/.test(image.replace(/[:@].*$/, ""))) return "An image's name is in lower case.";
  if (!image.includes("/")) return "Push your image under your own name, such as ada/voting-app.";
  return null;
}

// Checks an entry before it is sent, by the rules that the server publishes with the challenge. The
// server decides; these checks only give the answer earlier.
import type { Challenge, Entry } from "../lib/api";

/** Returns the errors of an entry, by field (`name`, `images[1]`, `vote`, …). */
export function check(entry: Entry, challenge: Challenge): Map<string, string> {
  const errors = new Map<string, string>();
  const characters = Array.from(entry.name).length;
  if (characters < 3 || characters > 50) errors.set("name", "A name has 3 to 50 characters.");
  if (entry.twitter !== undefined && !/^@\w{2,48}$/.test(entry.twitter)) {
    errors.set("twitter", "Write @username, with letters, digits and _ only.");
  }
  if (entry.location === "")
    errors.set("location", "Name a city, and its country if the name is a common one.");
  entry.images.forEach((image, at) => {
    const error = imageError(image);
    if (error !== null) errors.set(`images[${at}]`, error);
  });
  if (entry.images.length < challenge.images.min) {
    const one =
      challenge.images.min === 1 ? "Name an image." : `Name at least ${challenge.images.min} images.`;
    errors.set(`images[${entry.images.length}]`, one);
  }
  for (const { field, required, choices } of challenge.answers) {
    if (required && !entry[field])
      errors.set(field, choices.length > 0 ? "Choose one." : "This is required.");
  }
  return errors;
}

/** Returns the JSON that an app must answer for this entry to pass. */
export function expectedAnswer(entry: Entry, challenge: Challenge): Record<string, unknown> {
  const values: Record<string, unknown> = { ...entry, twitter: entry.twitter ?? "", repo: entry.images };
  return Object.fromEntries(challenge.probe.compare.map((field) => [field, values[field] ?? ""]));
}

function imageError(image: string): string | null {
  if (image.includes("://")) return "This is a web address; write the name that docker pull takes.";
  if (/\s/.test(image)) return "An image's name has no spaces.";
  if (/[A-Z]/.test(image.replace(/[:@].*$/, ""))) return "An image's name is in lower case.";
  if (!image.includes("/")) return "Push your image under your own name, such as ada/voting-app.";
  return null;
}

// Checks an entry before it is sent, by the rules that the server publishes with the challenge. The
// server decides; these checks only give the answer earlier.
import type { Challenge, Entry, TextLength } from "../lib/api";

/** Returns the errors of an entry, by field (`name`, `images[1]`, `vote`, …). */
export function check(entry: Entry, challenge: Challenge): Map<string, string> {
  const errors = new Map<string, string>();
  const { name, twitter, location, answer } = challenge.fields;
  if (!fits(entry.name, name))
    errors.set("name", `A name has ${name.min_chars} to ${name.max_chars} characters.`);
  if (entry.twitter !== undefined && !new RegExp(twitter.pattern).test(entry.twitter)) {
    errors.set("twitter", "Write @username, with letters, digits and _ only.");
  }
  if (entry.location === "") {
    errors.set("location", "Name a city, and its country if the name is a common one.");
  } else if (!fits(entry.location, location)) {
    errors.set("location", `A location has up to ${location.max_chars} characters.`);
  }
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
    const given = entry[field];
    if (required && !given) errors.set(field, choices.length > 0 ? "Choose one." : "This is required.");
    else if (typeof given === "string" && !fits(given, answer)) {
      errors.set(field, `An answer has up to ${answer.max_chars} characters.`);
    }
  }
  return errors;
}

/** Returns the JSON that an app must answer for this entry to pass. */
export function expectedAnswer(entry: Entry, challenge: Challenge): Record<string, unknown> {
  const values: Record<string, unknown> = { ...entry, twitter: entry.twitter ?? "", repo: entry.images };
  return Object.fromEntries(challenge.probe.compare.map((field) => [field, values[field] ?? ""]));
}

/** Returns true if the text's length in Unicode characters is within the bounds. */
function fits(text: string, { min_chars: min, max_chars: max }: TextLength): boolean {
  const length = Array.from(text).length;
  return length >= min && length <= max;
}

function imageError(image: string): string | null {
  if (image.includes("://")) return "This is a web address; write the name that docker pull takes.";
  if (/\s/.test(image)) return "An image's name has no spaces.";
  if (/[A-Z]/.test(image.replace(/[:@].*$/, ""))) return "An image's name is in lower case.";
  if (!image.includes("/")) return "Push your image under your own name, such as ada/voting-app.";
  return null;
}

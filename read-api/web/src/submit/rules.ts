// Checks an entry before it is sent, by the rules that the server publishes with the challenge. The
// server decides; these checks only give the answer earlier.
import type { Challenge, Entry, NameLength, TextLength } from "../lib/api";

/** Returns the errors of an entry, by field (`name`, `images[1]`, `vote`, …). */
export function check(entry: Entry, challenge: Challenge): Map<string, string> {
  const errors = new Map<string, string>();
  const { name, twitter, location, answer } = challenge.fields;
  const nameWrong = nameError(entry.name, name);
  if (nameWrong !== null) errors.set("name", nameWrong);
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

/** Characters that nobody sees. The server names each of them; some have a use in a script or in an emoji. */
const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{M}\p{Z}\p{C}\u2800\u{1d159}]/gu;

/** Characters that turn the direction of the text around them. */
const TURNING = /[\u202a-\u202e\u2066-\u2069]/u;

/** Returns the error in a name. Its length is in characters as people count them. */
function nameError(name: string, { min_chars: min, max_chars: max }: NameLength): string | null {
  const length = [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(name)].length;
  if (length < min || length > max || name.replace(UNSEEN, "") === "")
    return `A name has ${min} to ${max} characters that can be seen.`;
  if (TURNING.test(name)) return "The name has a character that turns the text around; write it without.";
  return null;
}

/** Returns true if the text's length in Unicode characters is within the bounds. */
function fits(text: string, { min_chars: min, max_chars: max }: TextLength): boolean {
  const length = Array.from(text).length;
  return length >= min && length <= max;
}

/** Returns the error in an image's name. The server finds the name in a pasted command or web address. */
function imageError(image: string): string | null {
  if (/\s/.test(image.trim())) return null;
  const [, path = image] = /^[a-z-]+:\/\/[^/]*\/?(.*)$/i.exec(image) ?? [];
  if (!path.includes("/")) return "Push your image under your own name, such as ada/voting-app.";
  if (path !== image) return null;
  // A host's name may be in capitals, a path may not.
  const [host = "", ...rest] = image.replace(/[:@][^/]*$/, "").split("/");
  const named = /[.:]/.test(host) ? rest.join("/") : image.replace(/[:@][^/]*$/, "");
  return /[A-Z]/.test(named) ? "An image's name is in lower case." : null;
}

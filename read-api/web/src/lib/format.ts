// Formats numbers, times and durations in the reader's locale.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const countries = new Intl.DisplayNames(["en"], { type: "region" });

/** Formats `12,345`. */
export const number = (value: number): string => whole.format(value);

/** Formats `12.3K`, for narrow places. */
export const compact = (value: number): string => (value < 1000 ? whole.format(value) : short.format(value));

/** Formats a fraction as `34%`. */
export const percent = (fraction: number): string => share.format(fraction);

/** Formats a number with its noun: `1 pin`, `2 pins`. */
export const count = (value: number, one: string, many = `${one}s`): string =>
  `${number(value)} ${value === 1 ? one : many}`;

/** Formats `3rd`. */
export function ordinal(value: number): string {
  const ending = { one: "st", two: "nd", few: "rd" }[
    new Intl.PluralRules("en", { type: "ordinal" }).select(value) as string
  ];
  return `${number(value)}${ending ?? "th"}`;
}

/** Formats day and time in the reader's time zone, or only the time if the day is today. */
export function dateTime(iso: string): string {
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : day.format(at);
}

/** Formats day and time in full, with the time zone. */
export const fullDateTime = (iso: string): string => exact.format(new Date(iso));

/** Formats a duration: `12 ms`, `3.4 s`, `2 min 5 s`, `3 h 10 min`. */
export function duration(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (milliseconds < 1000) return `${whole.format(Math.max(0, Math.round(milliseconds)))} ms`;
  if (seconds < 60) return `${oneDigit.format(seconds)} s`;
  if (seconds < 3600)
    return `${whole.format(Math.floor(seconds / 60))} min ${whole.format(Math.floor(seconds % 60))} s`;
  return `${whole.format(Math.floor(seconds / 3600))} h ${whole.format(Math.floor((seconds % 3600) / 60))} min`;
}

/** Formats an expected duration in words: `about 2 minutes`. */
export function approximateDuration(seconds: number): string {
  if (seconds < 10) return "a few seconds";
  if (seconds < 55) return `about ${number(Math.ceil(seconds / 10) * 10)} seconds`;
  if (seconds < 90) return "about a minute";
  if (seconds < 5400) return `about ${number(Math.round(seconds / 60))} minutes`;
  return `about ${count(Math.round(seconds / 3600), "hour")}`;
}

/** Formats `12.3 MiB`. */
export const mebibytes = (bytes: number): string => `${oneDigit.format(bytes / (1024 * 1024))} MiB`;

/** Returns the English name of a country, given its ISO 3166 code. */
export function country(code: string): string {
  try {
    return countries.of(code) ?? code;
  } catch {
    return code;
  }
}

/** Formats a place as `Paris, France`, or as `Singapore` if city and country have one name. */
export function placeName(city: string, code: string): string {
  const land = country(code);
  return isSame(city, land) ? city : `${city}, ${land}`;
}

/** Formats a place as it was typed and as it was found, `NYC → New York City, United States`, or once if both say the same. */
export function foundPlace(typed: string, city: string, code: string): string {
  const parts = typed.split(",").map((part) => part.trim());
  const [first = "", ...rest] = parts;
  const last = rest.pop();
  const saysTheSame = isSame(first, city) && (last === undefined || namesCountry(last, code));
  if (!saysTheSame) return `${typed} → ${placeName(city, code)}`;
  return rest.length === 0 ? placeName(city, code) : [city, ...rest, country(code)].join(", ");
}

function namesCountry(text: string, code: string): boolean {
  const short = { GB: "UK", US: "USA" }[code];
  return [country(code), code, short].some((name) => name !== undefined && isSame(text, name));
}

/** Compares without case, accents and points. */
function isSame(left: string, right: string): boolean {
  const plain = (text: string): string =>
    text.replaceAll(".", "").normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase();
  return plain(left) === plain(right);
}

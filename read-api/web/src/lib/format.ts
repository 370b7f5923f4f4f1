// Numbers, moments and spans, as the reader is used to them.

const whole = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const countries = new Intl.DisplayNames(["en"], { type: "region" });

/** 12,345 */
export const number = (value: number): string => whole.format(value);

/** 12.3K: for where there is little room. */
export const compact = (value: number): string => (value < 1000 ? whole.format(value) : short.format(value));

/** 34% */
export const percent = (fraction: number): string => share.format(fraction);

/** `one` thing, `many` things. */
export const count = (value: number, one: string, many = `${one}s`): string =>
  `${number(value)} ${value === 1 ? one : many}`;

/** 3rd */
export function ordinal(value: number): string {
  const ending = { one: "st", two: "nd", few: "rd" }[
    new Intl.PluralRules("en", { type: "ordinal" }).select(value) as string
  ];
  return `${number(value)}${ending ?? "th"}`;
}

/** Day and time in the reader's zone; the time alone when it is today. */
export function moment(iso: string): string {
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : day.format(at);
}

/** In full, with the zone. */
export const momentInFull = (iso: string): string => exact.format(new Date(iso));

/** How long something took: 12 ms, 3.4 s, 2 min 5 s, 3 h 10 min. */
export function took(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (milliseconds < 1000) return `${whole.format(Math.max(0, Math.round(milliseconds)))} ms`;
  if (seconds < 60) return `${oneDigit.format(seconds)} s`;
  if (seconds < 3600)
    return `${whole.format(Math.floor(seconds / 60))} min ${whole.format(Math.floor(seconds % 60))} s`;
  return `${whole.format(Math.floor(seconds / 3600))} h ${whole.format(Math.floor((seconds % 3600) / 60))} min`;
}

/** How long something may take, roughly and in words. */
export function roughly(seconds: number): string {
  if (seconds < 10) return "a few seconds";
  if (seconds < 55) return `about ${number(Math.ceil(seconds / 10) * 10)} seconds`;
  if (seconds < 90) return "about a minute";
  if (seconds < 5400) return `about ${number(Math.round(seconds / 60))} minutes`;
  return `about ${count(Math.round(seconds / 3600), "hour")}`;
}

/** 12.3 MiB */
export const mebibytes = (bytes: number): string => `${oneDigit.format(bytes / (1024 * 1024))} MiB`;

/** The English name of a country's code of two letters. */
export function country(code: string): string {
  try {
    return countries.of(code) ?? code;
  } catch {
    return code;
  }
}

// Colours for what is drawn on a canvas, from the style sheet; dark and light.

const dark = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** A colour of the style sheet, such as `--land`, as it is now. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function onThemeChange(listener: () => void): void {
  dark.addEventListener("change", listener);
}

/** Whether the reader wants things to move. */
export const motion = (): boolean => !calm.matches;

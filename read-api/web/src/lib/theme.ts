// The colours of the style sheet, dark or light, for drawing on a canvas.

const dark = matchMedia("(prefers-color-scheme: dark)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Returns the present value of a colour of the style sheet, such as `--land`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function onThemeChange(listener: () => void): void {
  dark.addEventListener("change", listener);
}

/** Returns false if the reader prefers reduced motion. */
export const motion = (): boolean => !calm.matches;

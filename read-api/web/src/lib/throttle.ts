// Limits how often something is drawn.

/** Returns a function that calls `draw` at the next frame, and at most once in `ms` however often it is called. */
export function throttled(ms: number, draw: () => void): () => void {
  let waiting = false;
  let last = -Infinity;
  return () => {
    if (waiting) return;
    waiting = true;
    const wait = Math.max(0, last + ms - performance.now());
    setTimeout(() => {
      requestAnimationFrame(() => {
        waiting = false;
        last = performance.now();
        draw();
      });
    }, wait);
  };
}

// Drawing no more often than somebody can see.

/** `draw`, at the next frame and then at most once in `ms`, however often it is called. */
export function paced(ms: number, draw: () => void): () => void {
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

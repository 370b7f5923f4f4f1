// Loads points into supercluster and answers boxes, one line in and one line
// out: what each took, without the line.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import Supercluster from 'supercluster';

let features = [];
let index;

/** Milliseconds that something takes. */
const timed = (what) => {
  const start = process.hrtime.bigint();
  what();
  return Number(process.hrtime.bigint() - start) / 1e6;
};

const feature = (lon, lat) => ({
  type: 'Feature',
  geometry: { type: 'Point', coordinates: [lon, lat] },
  properties: {},
});

// A cluster's disc is 48 pixels wide, on tiles of 256.
const indexed = () => {
  index = new Supercluster({ radius: 48, extent: 256, maxZoom: 16 }).load(features);
};

const answers = {
  /** Takes in the points of a file: longitude and latitude, each a double. */
  load: ({ file }) => {
    const bytes = readFileSync(file);
    const numbers = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
    features = [];
    for (let at = 0; at < numbers.length; at += 2) features.push(feature(numbers[at], numbers[at + 1]));
    return { ms: timed(indexed) };
  },
  /** One more point: the index cannot be changed, so it is made anew. */
  add: ({ lon, lat }) => {
    features.push(feature(lon, lat));
    return { ms: timed(indexed) };
  },
  /** What each box shows, and where each cluster falls apart, as Muster says too. */
  screens: ({ boxes, zoom }) => {
    let spots = 0;
    const ms = boxes.map((box) =>
      timed(() => {
        const shown = index.getClusters(box, zoom);
        for (const spot of shown)
          if (spot.properties.cluster) index.getClusterExpansionZoom(spot.properties.cluster_id);
        spots += shown.length;
      }),
    );
    return { ms, spots };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  console.log(JSON.stringify(answers[asked.ask](asked)));
}

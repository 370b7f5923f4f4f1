// Loads points into supercluster and answers queries for boxes. Each line of
// input is a request, each line of output its answer with the time it took.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import Supercluster from 'supercluster';

let features = [];
let index;

/** Returns the milliseconds that an action takes. */
const timed = (action) => {
  const start = process.hrtime.bigint();
  action();
  return Number(process.hrtime.bigint() - start) / 1e6;
};

const feature = (lon, lat) => ({
  type: 'Feature',
  geometry: { type: 'Point', coordinates: [lon, lat] },
  properties: {},
});

// A cluster's disc is 48 pixels wide, on tiles of 256.
const buildIndex = () => {
  index = new Supercluster({ radius: 48, extent: 256, maxZoom: 16 }).load(features);
};

const answers = {
  /** Loads the points of a file: longitude and latitude, each a double. */
  load: ({ file }) => {
    const bytes = readFileSync(file);
    const numbers = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
    features = [];
    for (let at = 0; at < numbers.length; at += 2) features.push(feature(numbers[at], numbers[at + 1]));
    return { ms: timed(buildIndex) };
  },
  /** Adds one point. The index cannot be changed, so it is built again. */
  add: ({ lon, lat }) => {
    features.push(feature(lon, lat));
    return { ms: timed(buildIndex) };
  },
  /** Returns the features of each box, and finds the expansion zoom of each cluster as Muster does. */
  screens: ({ boxes, zoom }) => {
    let count = 0;
    const ms = boxes.map((box) =>
      timed(() => {
        const shown = index.getClusters(box, zoom);
        for (const feature of shown)
          if (feature.properties.cluster) index.getClusterExpansionZoom(feature.properties.cluster_id);
        count += shown.length;
      }),
    );
    return { ms, features: count };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  console.log(JSON.stringify(answers[request.ask](request)));
}

// Six pages, each with what it needs and no more.
import { defineConfig } from "vite";

export default defineConfig({
  // Leaflet's own modules, so that what is not used is left out.
  resolve: { alias: [{ find: /^leaflet$/, replacement: "leaflet/dist/leaflet-src.esm.js" }] },
  build: {
    target: "es2022",
    // Everything is a file of its own: the content security policy takes no `data:` addresses.
    assetsInlineLimit: 0,
    // Chromium, Firefox and Safari have known modulepreload for years.
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: ["index.html", "submit.html", "status.html", "organise.html", "room.html", "nowhere.html"],
    },
  },
  // `npm run dev` beside a server that runs: the pages from here, the data from there.
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
});

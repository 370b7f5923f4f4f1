// A challenge for the tests of the submission form.
import type { Challenge } from "../lib/api";

export const challenge: Challenge = {
  id: "birthday",
  title: "The birthday challenge",
  opens: null,
  closes: null,
  phase: "open",
  rules: "sha256:0",
  fields: {
    name: { min_chars: 1, max_chars: 50 },
    twitter: { pattern: "^@[A-Za-z0-9_]{2,48}$" },
    location: { min_chars: 1, max_chars: 100 },
    answer: { min_chars: 1, max_chars: 50 },
  },
  images: { min: 1, max: 3, registries: ["docker.io"], answering: "any", size_max_mib: 512 },
  answers: [
    { field: "vote", label: "Vote", required: true, choices: ["Node.js", "Go"] },
    { field: "motto", label: "Motto", required: false, choices: [] },
  ],
  venues: [],
  probe: { port: 80, path: "/", compare: ["name", "twitter", "repo", "vote"] },
  sandbox: {
    memory_mib: 256,
    processors: 0.5,
    processes: 128,
    start_s: 30,
    answer_s: 10,
    grade: "read_only",
    writable: ["/tmp", "/run"],
    docker_run: "docker run --rm IMAGE",
  },
};

// The shapes of what the server says. See /openapi.json.

export interface FieldProblem {
  field: string;
  message: string;
  suggestions?: string[];
}

export interface Challenge {
  id: string;
  title: string;
  images: { min: number; max: number; registries: string[]; answering: "any" | "all"; size_max_mib: number };
  answers: { field: string; label: string; required: boolean; choices: string[] }[];
  probe: { port: number; path: string; compare: string[] };
}

/** What a submission says; the challenge's own answers stand beside these. */
export interface Entry {
  name: string;
  twitter?: string;
  location: string;
  images: string[];
  [answer: string]: string | string[] | undefined;
}

export type Status = "submitted" | "verifying" | "passed" | "failed";

export interface QueuePlace {
  position: number;
  of: number;
  expected_wait_s: number | null;
}

export interface Reason {
  code: string;
  image: string | null;
  message: string;
  advice: string;
}

export interface Submission {
  id: string;
  status: Status;
  waiting: { code: string | null; message: string; retry_at: string | null } | null;
  name: string;
  twitter: string | null;
  location: { typed: string; city: string; country: string; lat: number; lon: number };
  images: string[];
  answers: Record<string, string>;
  owner: string;
  challenge: string;
  attempts: number;
  reasons: Reason[];
  timeline: TimelineEntry[];
  submitted_at: string;
  judged_at: string | null;
  revision: number;
  position: number;
  queue: QueuePlace | null;
  platform: string | null;
}

export interface Probe {
  image: string;
  outcome: string;
  status: number | null;
  latency_ms: number | null;
  message: string | null;
  differing: { field: string; expected: string; returned: string | null }[];
}

/** One event; `data` depends on `type`. */
export type TimelineEntry = { at: string; position: number } & (
  | { type: "Submitted"; data: object }
  | { type: "VerificationStarted"; data: { attempt: number; verifier: string; deadline: string } }
  | {
      type: "ImagesPulled";
      data: {
        attempt: number;
        images: { image: string; size_bytes: number; node: string; took_ms: number }[];
      };
    }
  | {
      type: "ContainersStarted";
      data: { attempt: number; images: { image: string; node: string; took_ms: number }[] };
    }
  | { type: "Probed"; data: { attempt: number; images: Probe[] } }
  | { type: "Passed"; data: { attempt: number } }
  | { type: "Failed"; data: { attempt: number; reasons: Reason[] } }
  | {
      type: "VerificationInterrupted";
      data: { attempt: number; code: string; message: string; retry_at: string | null };
    }
  | { type: "RejudgeRequested"; data: { by: string; why: string } }
);

export interface Stats {
  submissions: Partial<Record<Status, number>>;
  pins: number;
  countries: Record<string, number>;
  places: number;
  answers: Record<string, Record<string, number>>;
  failures: Record<string, number>;
  interruptions: Record<string, number>;
  passes_per_minute: number[];
  waited_ms_p50: number | null;
  waited_ms_p95: number | null;
  position: number;
}

/** What organisers see. */
export interface Overview {
  /** Why nothing is verified just now. */
  platform: string | null;
  waiting: number;
  verifying: number;
  unfinished: Submission[];
  failures: Record<string, number>;
  interruptions: Record<string, number>;
  waited_ms_p50: number | null;
  waited_ms_p95: number | null;
}

/** Where submissions are verified. */
export interface Sandboxes {
  verifiers: Sandbox[];
}

export interface Sandbox {
  verifier: string;
  since: string;
  /** Why nothing is verified there just now. */
  trouble: string | null;
  slots: number;
  under_way: number;
  nodes: SandboxNode[];
}

export interface SandboxNode {
  name: string;
  state: "ready" | "paused" | "drained" | "down" | "refused";
  /** Why it is refused. */
  reason: string | null;
  slots: number;
  under_way: number;
}

/** What the map looks like on this server. */
export interface MapStyle {
  tiles: { url: string; attribution: string } | null;
}

export interface PinProperties {
  owner: string;
  name: string;
  twitter: string | null;
  city: string;
  country: string;
  answers: Record<string, string>;
  passes: number;
  passed_at: string;
}

export interface ClusterProperties {
  cluster: true;
  point_count: number;
  /** The zoom at which it falls apart; `null` when its pins share one place. */
  expansion_zoom: number | null;
}

export interface Feature<P> {
  id?: string;
  geometry: { coordinates: [lon: number, lat: number] };
  properties: P;
}

export interface FeatureCollection<F> {
  features: F[];
  /** The zoom at which it was clustered. */
  zoom?: number;
}

export type PinFeature = Feature<PinProperties>;
export type ClusterFeature = Feature<ClusterProperties>;
/** What the map shows at one feature. */
export type MapFeature = PinFeature | ClusterFeature;

// The types of the HTTP API, by the names that the pages use. `api.generated.ts` is generated from the
// server's description; `make api` renews both.
import type { components } from "./api.generated";

type Schemas = components["schemas"];

export type Challenge = Schemas["ChallengeDescription"];
export type TextLength = Schemas["TextLength"];
export type NameLength = Schemas["NameLength"];
export type Places = Schemas["PlaceCompletions"];

/** The body of a submission. The challenge's own answers stand beside the other fields. */
export interface Entry {
  name: string;
  twitter?: string;
  location: string;
  images: string[];
  venue?: string;
  venue_code?: string;
  [answer: string]: string | string[] | undefined;
}

export type Accepted = Schemas["AcceptedCommand"];
export type FieldProblem = Schemas["FieldProblem"];
export type Problem = Schemas["Problem"];

export type Submission = Schemas["StatusAnswer"];
export type SubmissionView = Schemas["StatusView"];
export type Status = Schemas["SubmissionStatus"];
export type QueuePlace = Schemas["QueuePlace"];
export type Reason = Schemas["ReasonView"];
export type TimelineEntry = Schemas["TimelineEntry"];
export type ImageProbe = Schemas["ImageProbe"];
export type FailureCode = Schemas["FailureCode"];
export type InterruptionCode = Schemas["InterruptionCode"];

export type Stats = Schemas["StatsView"];
export type Overview = Schemas["OrganiserOverview"];
export type Sandboxes = Schemas["SandboxList"];
export type Sandbox = Schemas["VerifierSandbox"];
export type LimitedRegistry = Schemas["LimitedRegistry"];
export type SandboxNode = Schemas["NodeInUse"];
export type ListedToken = Schemas["ListedToken"];
export type NewToken = Schemas["NewToken"];
export type Webhook = Schemas["WebhookView"];
export type MapStyle = Schemas["MapStyle"];

export type PinProperties = Schemas["PinProperties"];
export type ClusterProperties = Schemas["ClusterProperties"];
export type PinFeature = Feature<PinProperties>;
export type ClusterFeature = Feature<ClusterProperties>;
export type MapFeature = PinFeature | ClusterFeature;

/** A GeoJSON feature. The description cannot say that its position is a pair and which kind it is. */
interface Feature<P> {
  /** The owner of a pin. */
  id?: string;
  geometry: { coordinates: [lon: number, lat: number] };
  properties: P;
}

/** A GeoJSON collection of one kind of feature. */
export interface FeatureCollection<F extends MapFeature> extends Omit<
  Schemas["FeatureCollection"],
  "features"
> {
  features: F[];
}

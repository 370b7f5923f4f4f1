// The answers after which a submission's page asks no more.
import type { Failure } from "../lib/http";

export interface Ending {
  title: string;
  text: string;
}

/** Returns what the page shows if the submission will not come back, or `null` if asking again may help. */
export function endOf({ status, message }: Pick<Failure, "status" | "message">): Ending | null {
  switch (status) {
    case 400:
    case 404:
      return {
        title: "There is no such submission",
        text: `${message} Check the address: it is the one that you were given when you submitted.`,
      };
    case 410:
      return { title: "This submission was deleted", text: message };
    default:
      return null;
  }
}

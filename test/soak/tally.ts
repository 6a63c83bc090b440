/** Faults that are injected. */
export type Fault =
  | 'client leaves in the middle of the head'
  | 'client leaves in the middle of the body'
  | 'client leaves while it waits'
  | 'client leaves in the middle of the answer'
  | 'Mongrel2 killed (SIGKILL)'
  | 'Mongrel2 terminated (SIGTERM)'

/** Notes kept of what went wrong. */
const MOST_NOTES = 30
const LONGEST_NOTE = 300

/** What has been counted. */
export class Tally {
  requests = 0
  /** Answers that came whole, every byte as it has to be. */
  right = 0
  /** Bytes of bodies that were taken from clients and answered, and of answers that clients got, whole or cut. */
  bytesIn = 0
  bytesOut = 0
  readonly faults = new Map<Fault, number>()
  slowReaders = 0
  /** Requests without an answer since their client left or their Mongrel2 was ended. */
  abandoned = 0
  cut = 0
  /** Requests without an answer, or with a cut one, and no fault that would explain it. */
  lost = 0
  /** Answers with a byte or a status that does not belong there. */
  wrong = 0
  /** Requests on whose connection nothing moved any more. */
  hung = 0
  readonly notes: string[] = []

  inject(fault: Fault): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1)
  }

  problem(kind: 'lost' | 'wrong' | 'hung', note: string, requests = 1): void {
    this[kind] += requests
    if (this.notes.length < MOST_NOTES) this.notes.push(`${kind}: ${note.slice(0, LONGEST_NOTE)}`)
  }
}

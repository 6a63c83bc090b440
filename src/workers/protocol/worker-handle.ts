/** Controls a worker process, on this machine or on a node. */
export interface WorkerHandle {
  /** Its process id on its machine; 0 while it is unknown. */
  readonly pid: number
  /** Sends frames, in one write. */
  send(frames: readonly Buffer[]): void
  /** Notes that it was told to end: then it gets more time to exit after closing its pipe. */
  expectEnd(): void
  /** Ends it at once. */
  kill(): void
}

/** Takes the frames of a worker process, and learns of its end. */
export interface WorkerHandleObserver {
  /** Takes the next frame. */
  receive(frame: Buffer): void
  /** Called after its last frame. `how` it ended is for the log; `clean`: it exited with everything delivered. */
  ended(how: string, clean: boolean): void
}

/** A machine with worker processes. */
export interface WorkerHost {
  /** Its name in the log; empty for this machine. */
  readonly name: string
  /** Whether its workers can read the files that Mongrel2 stores uploads in. */
  readonly seesUploads: boolean
  /** Its workers answer to the first so many endpoints. */
  readonly endpoints: number
  start(observer: WorkerHandleObserver): WorkerHandle
}

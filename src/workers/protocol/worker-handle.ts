/** Controls a worker process, on this machine or on a node. */
export interface WorkerHandle {
  /** Its process id on its machine; 0 while that is not known. */
  readonly pid: number
  /** Sends frames, in one write. */
  send(frames: readonly Buffer[]): void
  /** Notes that it was told to end: it may take a while to exit after it has closed its pipe. */
  expectEnd(): void
  /** Ends it at once. */
  kill(): void
}

/** Takes what a worker process reports. */
export interface WorkerHandleObserver {
  /** Takes the next frame. */
  receive(frame: Buffer): void
  /**
   * Called when the process is gone and all of its frames have been received.
   *
   * @param how What ended it, for the log.
   * @param clean Whether it ended by itself and had delivered everything.
   */
  ended(how: string, clean: boolean): void
}

/** A machine that worker processes run on. */
export interface WorkerHost {
  /** Its name in the log; empty for this machine. */
  readonly name: string
  /** Whether its workers can read the files that Mongrel2 stores uploads in. */
  readonly seesUploads: boolean
  start(observer: WorkerHandleObserver): WorkerHandle
}

/** A worker process as the dispatcher drives it, wherever it runs: started here, or by a node elsewhere. */
export interface WorkerHandle {
  /** Its number on its machine; 0 while that is not known. */
  readonly pid: number
  /** Sends frames, in one message of several parts. */
  send(frames: readonly Buffer[]): void
  /** It was told to end, and may take a while to exit when it has closed its sockets. */
  expectEnd(): void
  /** Ends it at once. */
  kill(): void
}

/** Told what a worker process says and how it ended. */
export interface WorkerHandleObserver {
  /** A frame came, in its order. */
  receive(frame: Buffer): void
  /**
   * It is gone, and everything it said has been heard.
   *
   * @param how What ended it, for people.
   * @param clean Whether it ended by itself and had delivered everything.
   */
  ended(how: string, clean: boolean): void
}

/** Where worker processes run. */
export interface WorkerHost {
  /** What its workers' numbers are followed by in the log; empty for this machine. */
  readonly name: string
  /** Whether its workers can read the files that Mongrel2 stores uploads in. */
  readonly seesUploads: boolean
  start(observer: WorkerHandleObserver): WorkerHandle
}

/** Told what becomes of connections, where somebody else deals their messages. */
export interface ConnectionObserver {
  /** Bytes for its client are about to be published. */
  answering(id: number): void
  /** Nothing is open on it: what it has sent so far is answered, and the answers are in what is published next or were before. */
  idle(id: number): void
  /** Its answer is left to others. */
  deferred(id: number): void
  /** We end it, by what is published next. */
  closed(id: number): void
  /** Nothing is remembered of it any more: whoever gets its next message can do without. */
  forgotten(id: number): void
  /** Mongrel2 was found to run with `download.flow_control`, which only a connection's first request tells. */
  flowControl(): void
}

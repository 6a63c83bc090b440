import type { ControlPortAddress } from '../../link/control-port.ts'
import type { DealtHead, Order } from '../protocol/frames.ts'

/** The control port's answer to a question, or undefined where it gave none. */
export interface ControlPortAnswer {
  readonly question: number
  readonly written: ReadonlyMap<number, number> | undefined
}

/** What the main thread of a worker process says to a handler thread. */
export type ToThread =
  /** A message that was dealt. */
  | { readonly head: DealtHead; readonly message: Uint8Array<ArrayBuffer> }
  | { readonly order: Order }
  /** A message of a topic, as a frame. */
  | { readonly topic: Uint8Array<ArrayBuffer> }
  /** An epoch's Mongrel2 cannot be reached any more. */
  | { readonly lost: number }
  | { readonly stop: number }
  /** So many bytes published to an epoch have been taken by the system. */
  | { readonly taken: number; readonly epoch: number }
  | ControlPortAnswer

/** An emission, its replies one behind the other. */
export interface ThreadEmission {
  readonly before: Uint8Array | undefined
  readonly publication: { readonly epoch: number; readonly bytes: Uint8Array; readonly lengths: number[] } | undefined
  readonly after: Uint8Array | undefined
}

/** What does the control port say? */
export interface ControlPortQuestion {
  readonly question: number
  readonly epoch: number
  readonly address: ControlPortAddress
}

/** What a handler thread says. */
export type FromThread =
  | { readonly loaded: true }
  | { readonly failed: string }
  | { readonly news: string }
  | { readonly topic: Uint8Array<ArrayBuffer> }
  | { readonly stopped: true }
  | ThreadEmission
  | ControlPortQuestion

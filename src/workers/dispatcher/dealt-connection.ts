import type { Message } from '../../wire/message.ts'
import type { DealtEpoch } from './dealt-epoch.ts'
import type { Slot } from './slot.ts'

/** Where a connection stands, as far as the dispatcher has been told. */
export type DealtState =
  /** Nothing is open on it. */
  | 'idle'
  /** It has sent something, and no byte of an answer has gone out. */
  | 'waiting'
  /** An answer has begun. */
  | 'answering'
  /** The answer is left to others. */
  | 'deferred'

/** A message as it came. */
export interface ReceivedMessage {
  readonly bytes: Buffer
  /** What it says, where that may matter to more than its worker. */
  readonly message: Message | undefined
}

/** A connection that a slot has, or that waits for one. */
export class DealtConnection {
  readonly epoch: DealtEpoch
  readonly id: number
  readonly sender: string
  slot: Slot | undefined
  state: DealtState = 'idle'
  /** The number of the last message that was dealt of it. */
  last = 0
  /** Bytes that Mongrel2 has not written yet, brought along from the slot before. */
  balance = 0
  /** Whether the body of a request comes in parts, by credits. */
  streaming = false
  /** Files of stored bodies that its slot would delete. */
  uploads: string[] | undefined
  /** Messages that wait, in their order, and what for. */
  held: ReceivedMessage[] | undefined
  waitsFor: 'place' | 'handOver' | 'idle' | undefined
  /** Its place among those that wait. */
  ticket = 0

  constructor(epoch: DealtEpoch, id: number, sender: string) {
    this.epoch = epoch
    this.id = id
    this.sender = sender
  }
}

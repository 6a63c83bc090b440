import { type ConnectionObserver, Epoch } from '../../../src/connection/epoch.ts'
import type { FeedbackSource } from '../../../src/connection/pacing/feedback.ts'
import { Application } from '../../../src/exchange/application.ts'
import { Intake } from '../../../src/exchange/intake.ts'
import { checkOptions, type Mongrel2Options } from '../../../src/exchange/options.ts'
import type { Publisher } from '../../../src/link/transport.ts'
import type { FetchHandler } from '../../../src/platform/handler.ts'
import { type Reply, renderReply } from '../../../src/wire/reply.ts'
import { type ParsedReply, type ParsedResponse, parseReply, parseResponse } from './reply.ts'

/** A publisher that keeps what it is given. */
export class FakePublisher implements Publisher {
  full = false
  /** What each call brought. */
  readonly batches: ParsedReply[][] = []
  /** Called with each call's replies, as a Mongrel2 would be. */
  onPublish: ((replies: ParsedReply[]) => void) | undefined
  #drained: (() => void)[] = []

  drained(): Promise<void> {
    return this.full ? new Promise((resolve) => this.#drained.push(resolve)) : Promise.resolve()
  }

  publish(replies: Reply[]): void {
    const parsed = replies.map((reply) => parseReply(renderReply(reply)))
    this.batches.push(parsed)
    this.onPublish?.(parsed)
  }

  /** Everything that waited has gone out. */
  drain(): void {
    this.full = false
    for (const resolve of this.#drained.splice(0)) resolve()
  }

  get replies(): ParsedReply[] {
    return this.batches.flat()
  }

  /** The payloads for one connection; the closing reply is an empty one. */
  payloadsFor(id: number): Buffer[] {
    const isFor = ({ targets }: ParsedReply) => targets.split(' ').includes(String(id)) && !targets.startsWith('X ')
    return this.replies.filter(isFor).map(({ payload }) => payload)
  }

  /** What the client of a connection has received. */
  received(id: number): string {
    return Buffer.concat(this.payloadsFor(id)).toString('latin1')
  }

  /** The one response that a client has received. */
  response(id: number): ParsedResponse {
    return parseResponse(this.received(id))
  }

  /** Whether the last thing said to a connection was to close, and said once. */
  closed(id: number): boolean {
    const payloads = this.payloadsFor(id)
    return payloads.filter((payload) => payload.length === 0).length === 1 && payloads.at(-1)?.length === 0
  }
}

/** Everything between a link and a handler, without the link. */
export interface Stage {
  readonly epoch: Epoch
  readonly application: Application
  readonly publisher: FakePublisher
  /** What was logged. */
  readonly log: { readonly warnings: string[]; readonly errors: string[] }
  /** Hands messages over, all in this turn. */
  receive(...messages: Buffer[]): void
  /** Resolves when every exchange has ended and everything said has been published. */
  settled(): Promise<void>
}

export interface StageOptions extends Omit<Mongrel2Options, 'zeromq' | 'logger' | 'identity' | 'signal'> {
  /** What Mongrel2 subscribed to. */
  readonly prefix?: string
  /** What stands for its control port. */
  readonly feedback?: FeedbackSource
  /** Told what becomes of the connections. */
  readonly observer?: ConnectionObserver
}

/** Sets a stage for a handler. */
export function setStage(
  fetch: FetchHandler,
  { prefix = '', feedback, observer, ...options }: StageOptions = {},
): Stage {
  const warnings: string[] = []
  const errors: string[] = []
  const logger = { warn: (line: string) => warnings.push(line), error: (line: string) => errors.push(line) }
  const settings = checkOptions(fetch, { ...options, zeromq: 'ipc://send,ipc://recv', logger })
  const [endpoint] = settings.endpoints
  if (endpoint === undefined) throw new Error('no endpoint')
  const application = new Application(settings)
  const intake = new Intake({ ...settings, ...endpoint }, application)
  const publisher = new FakePublisher()
  const epoch = new Epoch(
    publisher,
    {
      ...settings,
      prefix,
      flowControl: endpoint.flowControl,
      place: { recvSpec: endpoint.recvSpec, socketId: undefined },
    },
    {
      intake,
      counters: application.counters,
      waitingBudget: application.waitingBudget,
      controlPort: feedback,
      observer,
    },
  )
  return {
    epoch,
    application,
    publisher,
    log: { warnings, errors },
    receive: (...messages) => {
      for (const message of messages) epoch.receive(message)
    },
    settled: async () => {
      await application.settled()
      await epoch.closing.drained()
    },
  }
}

/** Resolves at the end of this turn of the event loop, or of so many. */
export async function turns(count = 1): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** How long something that has to come about may take on a busy machine, in nanoseconds. */
const PATIENCE = 20_000_000_000n

/** Waits, turn by turn, until something holds; rejects when it does not come about. The clock that it looks at is never a fake one. */
export async function until(holds: () => boolean): Promise<void> {
  const end = process.hrtime.bigint() + PATIENCE
  while (process.hrtime.bigint() < end) {
    if (holds()) return
    await turns()
  }
  throw new Error(`expected to come about: ${holds}`)
}

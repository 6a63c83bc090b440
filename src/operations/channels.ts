import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { RequestTrace } from './request-entry.ts'

// What tracing agents can subscribe to (`node:diagnostics_channel`). With no subscriber, nothing is made or published.

/** The message of `mongrel2-fetch:worker`. */
export interface WorkerEvent {
  /** `started`: it has loaded the app. `lost`: it ended without having been told to. */
  readonly event: 'started' | 'replaced' | 'ended' | 'lost'
  readonly pid: number
  /** The node that it runs on; empty for this machine. */
  readonly node: string
  /** Why it is replaced or was lost. */
  readonly reason?: string
}

/** The message of `mongrel2-fetch:link`. */
export interface LinkEvent {
  readonly event: 'attached' | 'lost'
  readonly sendSpec: string
  readonly recvSpec: string
}

const REQUEST = 'mongrel2-fetch:request'

/** The handler's call: `start`, `end`, `asyncStart`, `asyncEnd`, `error`. Stores that are bound to `start` hold during the call. */
export const requestTracing: TracingChannel<unknown, RequestTrace> = tracingChannel(REQUEST)
/** The end of the response. */
export const requestEnd: Channel = channel(`${REQUEST}:end`)
const workers: Channel = channel('mongrel2-fetch:worker')
const links: Channel = channel('mongrel2-fetch:link')

/** Whether anybody traces requests. */
export function requestsAreTraced(): boolean {
  return requestTracing.start.hasSubscribers || requestEnd.hasSubscribers
}

export function publishWorkerEvent(event: WorkerEvent): void {
  workers.publish(event)
}

export function onLinkEvent(listener: (event: LinkEvent) => void): void {
  links.subscribe((event) => listener(event as LinkEvent))
}

export function publishLinkEvent(event: LinkEvent): void {
  links.publish(event)
}

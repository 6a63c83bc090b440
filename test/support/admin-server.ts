import type { AdminServer } from '../../src/admin/admin.ts'
import { RequestAccounts } from '../../src/operations/request-accounts.ts'
import type { ServerState } from '../../src/operations/server-state.ts'

const SEND = { sendSpec: 'ipc://send', recvSpec: 'ipc://recv', since: 1 }

/** A server that does nothing but have a state, which a test changes. */
export class StatedServer implements AdminServer {
  readonly accounts: RequestAccounts
  state: ServerState = {
    messages: 1,
    malformed: 2,
    rejected: 3,
    ignored: 4,
    inFlight: 5,
    queued: 6,
    connections: 24,
    pacing: { credits: 7, controlPort: 8, estimate: 9 },
    webSockets: 10,
    messageSockets: 11,
    uploads: 12,
    topicMembers: 13,
    closing: false,
    links: [{ ...SEND, attached: true }],
  }

  constructor(metrics = true) {
    const none = {
      accessLog: undefined,
      accessLogFormat: 'combined',
      record: undefined,
      recordEvery: 0,
      recordOmit: [],
    }
    this.accounts = new RequestAccounts({ ...none, metrics, logger: {} })
  }

  connections(): never[] {
    return []
  }

  stats(): ServerState {
    return { ...this.state, ...this.accounts.state }
  }

  metrics({ openMetrics = false } = {}): string {
    return this.accounts.metrics(this.stats(), openMetrics)
  }

  /** Loses or finds its Mongrel2. */
  attach(attached: boolean): void {
    this.state = { ...this.state, links: [{ ...SEND, attached }] }
  }

  /** Counts an ended request, that took so many milliseconds. */
  ended(status: number, duration: number): void {
    this.accounts.add({ status, aborted: false, bytes: 100, received: 10, duration })
  }
}

import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { RawClient, request } from '../raw-client.ts'
import { RawWebSocket } from '../websocket-client.ts'
import { clientFrame } from '../websocket-frames.ts'

/** When a user's handler calls `enterWith`: in a handler without an await, before its first one, or after it. */
export type Moment = 'sync' | 'before' | 'after'

const MOMENTS: readonly Moment[] = ['sync', 'before', 'after']

/** A user's request, which `app.mjs` notes. */
interface Visit {
  readonly user: string
  readonly when: Moment
  readonly entry: Entry
}

/** A path of the app, and what a client does with it. */
interface Entry {
  readonly path: string
  /** Whether it takes as long as a `requestTimeout`. */
  readonly slow?: boolean
  /** Where the user's code is called, beside the handler. */
  readonly places: readonly string[]
  /** Those of them that need not see what was entered after an await, since the handler had returned a promise by then. */
  readonly detached?: readonly string[]
  visit(port: number, visit: Visit, notes: Notes): Promise<void>
}

const targetOf = ({ entry, user, when }: Visit) => `${entry.path}?user=${user}&when=${when}`

async function ask(port: number, visit: Visit, method = 'GET', fields = '', body = ''): Promise<void> {
  using client = new RawClient(port)
  await client.send(request(targetOf(visit), method, fields) + body).response()
}

/** Asks for all of them on one connection, before the first is answered. */
async function askPipelined(port: number, visits: readonly Visit[]): Promise<void> {
  using client = new RawClient(port)
  client.send(visits.map((visit) => request(targetOf(visit))).join(''))
  for (const _visit of visits) await client.response()
}

/** Asks, and leaves as soon as a place was noted. */
async function leave(port: number, visit: Visit, notes: Notes, place: string): Promise<void> {
  using client = new RawClient(port)
  client.send(request(targetOf(visit)))
  await notes.until(visit.user, place)
}

/** Sends two messages, reads until both came back, and closes. */
async function talk(port: number, visit: Visit): Promise<void> {
  const socket = await RawWebSocket.open(port, targetOf(visit))
  for (const text of [`${visit.user} one`, `${visit.user} two`]) {
    socket.send(clientFrame(1, text))
    await socket.until(() => socket.frames.some(({ payload }) => payload.toString() === text))
  }
  socket.destroy()
}

const simple = (path: string, places: readonly string[] = [], detached?: readonly string[]): Entry => ({
  path,
  places,
  ...(detached === undefined ? {} : { detached }),
  visit: (port, visit) => ask(port, visit),
})

/** Entries that are answered at once, so that they can be pipelined. */
const ANSWERED: readonly Entry[] = [
  simple('/text'),
  simple('/stream', ['pull'], ['pull']),
  simple('/fail', ['onError'], ['onError']),
  simple('/wait', ['waitUntil']),
  simple('/poll', ['next']),
]

const UPLOAD: Entry = {
  path: '/text',
  places: ['onUploadStart'],
  visit: (port, visit) => ask(port, visit, 'POST', 'Content-Length: 30000\r\n', 'x'.repeat(30_000)),
}

const ENTRIES: readonly Entry[] = [
  ...ANSWERED,
  simple('/defer', ['deferred', 'deferred-abort']),
  { path: '/signal', places: ['abort'], visit: (port, visit, notes) => leave(port, visit, notes, 'waiting') },
  { ...simple('/signal', ['abort']), slow: true },
  {
    path: '/endless',
    places: ['cancel'],
    detached: ['cancel'],
    visit: (port, visit, notes) => leave(port, visit, notes, 'begun'),
  },
  { path: '/socket', places: ['open', 'message', 'close'], visit: talk },
  { path: '/member', places: ['member', 'member-close'], visit: talk },
]

/** What was noted. */
export class Notes {
  readonly #path: string
  #lines: string[][] = []

  constructor(path: string) {
    this.#path = path
  }

  /** Resolves when a place in a user's code was reached. */
  async until(user: string, place: string): Promise<void> {
    while (!this.#has(user, place)) {
      await sleep(10)
      const text = await readFile(this.#path, 'utf8')
      this.#lines = text
        .split('\n')
        .slice(0, -1)
        .map((line) => line.split(' '))
    }
  }

  /** Lines that say more than they should, or less: `user place seen`. */
  faults(visits: readonly Visit[]): string[] {
    const visitOf = new Map(visits.map((visit) => [visit.user, visit]))
    return this.#lines
      .filter(([user = '', place = '', seen = '']) => !allowed(visitOf.get(user), place).includes(seen))
      .map((line) => line.join(' '))
  }

  #has(user: string, place: string): boolean {
    return this.#lines.some((line) => line[0] === user && line[1] === place)
  }
}

function allowed(visit: Visit | undefined, place: string): string[] {
  if (visit === undefined || visit.user.startsWith('anonymous') || place === 'handler' || place === 'onUploadStart')
    return ['nobody']
  return visit.when === 'after' && visit.entry.detached?.includes(place) ? ['nobody', visit.user] : [visit.user]
}

/** Every entry at every moment, by users who enter something and by anonymous ones among them. */
function visitsOf(entries: readonly Entry[], name: string, moments = MOMENTS): Visit[] {
  let count = 0
  return entries.flatMap((entry) =>
    moments.flatMap((when) =>
      [`${name}${++count}`, `anonymous-${name}${++count}`].map((user) => ({ user, when, entry })),
    ),
  )
}

/** Visits an app in all ways, and returns the notes that are not as they should be. */
export async function visitAll(port: number, notesPath: string, uploads: boolean): Promise<string[]> {
  const notes = new Notes(notesPath)
  const entries = uploads ? [...ENTRIES, UPLOAD] : ENTRIES
  const go = (visit: Visit) => visit.entry.visit(port, visit, notes)

  // First of all, when nothing in that process has entered anything before.
  const first = visitsOf(ANSWERED, 'first', ['after'])
  await askPipelined(port, first)
  const together = visitsOf(entries, 'together')
  await Promise.all(together.map(go))
  const pipelined = visitsOf(ANSWERED, 'pipelined')
  await askPipelined(port, pipelined)
  const single = visitsOf(
    entries.filter(({ slow }) => slow !== true),
    'single',
  )
  for (const visit of single) await go(visit)

  const visits = [...first, ...together, ...pipelined, ...single]
  for (const { user, entry } of visits) for (const place of ['handler', ...entry.places]) await notes.until(user, place)
  return notes.faults(visits)
}

import type { ServerState } from './server-state.ts'

/** What a thread that serves an app tells of its present state and of its counts since the start. */
export const FIGURES = [
  // Connections, by their pacing.
  'credits',
  'controlPort',
  'estimate',
  'webSockets',
  'messageSockets',
  /** Request bodies that are being received in messages of their own. */
  'uploads',
  'topicMembers',
  // Counts since the start.
  'messages',
  'malformed',
  'rejected',
  'ignored',
] as const
const COUNTS = ['messages', 'malformed', 'rejected', 'ignored'] as const

export type Figures = Record<(typeof FIGURES)[number], number>

export function noFigures(): Figures {
  return Object.fromEntries(FIGURES.map((name) => [name, 0])) as Figures
}

/** The part of a server's state that figures tell. */
export function stateOf({ credits, controlPort, estimate, ...rest }: Figures): FigureState {
  return { ...rest, pacing: { credits, controlPort, estimate }, connections: credits + controlPort + estimate }
}

export type FigureState = Omit<Figures, keyof ServerState['pacing']> & Pick<ServerState, 'pacing' | 'connections'>

/** The figures that a server's state has. */
export function figuresOf({ pacing, ...state }: ServerState): Figures {
  const all = { ...state, ...pacing }
  return Object.fromEntries(FIGURES.map((name) => [name, all[name]])) as Figures
}

export function addFigures(sum: Figures, more: Readonly<Figures>): void {
  for (const name of FIGURES) sum[name] += more[name]
}

/** Adds the counts of a thread that is gone. */
export function addCounts(sum: Figures, more: Readonly<Figures>): void {
  for (const name of COUNTS) sum[name] += more[name]
}

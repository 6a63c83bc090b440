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
  'malformed',
  'rejected',
  'ignored',
] as const

export type Figures = Record<(typeof FIGURES)[number], number>

export function noFigures(): Figures {
  return Object.fromEntries(FIGURES.map((name) => [name, 0])) as Figures
}

export function addFigures(sum: Figures, more: Readonly<Figures>): void {
  for (const name of FIGURES) sum[name] += more[name]
}

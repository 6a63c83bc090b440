import { isAbsolute, join, relative, sep } from 'node:path'

/** The relative path from a directory to itself or a path below it; undefined for other paths. */
export function pathBelow(directory: string, path: string): string | undefined {
  const way = relative(directory, path)
  return way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way) ? undefined : join(way)
}

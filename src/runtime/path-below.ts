import { isAbsolute, join, relative, sep } from 'node:path'

/** The way from a directory to a path that is the directory or below it; undefined for any other path. */
export function pathBelow(directory: string, path: string): string | undefined {
  const way = relative(directory, path)
  return way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way) ? undefined : join(way)
}
